"""FHIR R5 over HTTP: one file an interaction. https://hl7.org/fhir/R5/http.html"""
