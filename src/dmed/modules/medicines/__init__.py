"""The register of medicines: INN, preparation (INN + form + strength) and product, with search
as you type, readable as FHIR Medication. Trade names and makers are invented.
"""

from dmed.trust.manifest import Manifest

MODULE = Manifest(
    name="medicines",
    titles={"uz": "Dorilar", "ru": "Лекарства", "en": "Medicines"},
)
