"""The register of medicines: INN, preparation (INN + form + strength) and product, with search
as you type, readable as FHIR. It starts with a catalogue of the package and follows the national
feed in versions. Trade names and makers of the catalogue are invented.
"""

from dmed.modules.medicines.pages import MENU, ROUTES
from dmed.modules.medicines.service import feeding, records
from dmed.modules.medicines.tables import DDL
from dmed.trust.manifest import Manifest

MODULE = Manifest(
    name="medicines",
    titles={"uz": "Dorilar", "ru": "Лекарства", "en": "Medicines"},
    routes=ROUTES,
    menu=MENU,
    ddl=DDL,
    jobs=(("feed of medicines", feeding.job), ("records of medicines", records.job)),
    background=(feeding.follow,),
)
