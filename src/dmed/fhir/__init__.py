"""FHIR R5 as data and pure functions. No I/O. https://hl7.org/fhir/R5/"""
