"""FHIRPath, compiled to Python closures over the structs of `fhir.types`.

Specification: https://hl7.org/fhirpath/ and https://hl7.org/fhir/R5/fhirpath.html
"""
