"""How values become keys of the tables: types as small numbers, systems as 64-bit numbers.

Writer, loader and search make keys here and nowhere else, so that they always agree.
"""

from __future__ import annotations

import hashlib
import zlib
from functools import lru_cache

from dmed.fhir.index import parameter_number

_TYPES = """
Account ActivityDefinition ActorDefinition AdministrableProductDefinition AdverseEvent
AllergyIntolerance Appointment AppointmentResponse ArtifactAssessment AuditEvent Basic Binary
BiologicallyDerivedProduct BiologicallyDerivedProductDispense BodyStructure Bundle
CapabilityStatement CarePlan CareTeam ChargeItem ChargeItemDefinition Citation Claim
ClaimResponse ClinicalImpression ClinicalUseDefinition CodeSystem Communication
CommunicationRequest CompartmentDefinition Composition ConceptMap Condition ConditionDefinition
Consent Contract Coverage CoverageEligibilityRequest CoverageEligibilityResponse DetectedIssue
Device DeviceAssociation DeviceDefinition DeviceDispense DeviceMetric DeviceRequest DeviceUsage
DiagnosticReport DocumentReference Encounter EncounterHistory Endpoint EnrollmentRequest
EnrollmentResponse EpisodeOfCare EventDefinition Evidence EvidenceReport EvidenceVariable
ExampleScenario ExplanationOfBenefit FamilyMemberHistory Flag FormularyItem GenomicStudy Goal
GraphDefinition Group GuidanceResponse HealthcareService ImagingSelection ImagingStudy
Immunization ImmunizationEvaluation ImmunizationRecommendation ImplementationGuide Ingredient
InsurancePlan InventoryItem InventoryReport Invoice Library Linkage List Location
ManufacturedItemDefinition Measure MeasureReport Medication MedicationAdministration
MedicationDispense MedicationKnowledge MedicationRequest MedicationStatement
MedicinalProductDefinition MessageDefinition MessageHeader MolecularSequence NamingSystem
NutritionIntake NutritionOrder NutritionProduct Observation ObservationDefinition
OperationDefinition OperationOutcome Organization OrganizationAffiliation
PackagedProductDefinition Parameters Patient PaymentNotice PaymentReconciliation Permission
Person PlanDefinition Practitioner PractitionerRole Procedure Provenance Questionnaire
QuestionnaireResponse RegulatedAuthorization RelatedPerson RequestOrchestration Requirements
ResearchStudy ResearchSubject RiskAssessment Schedule SearchParameter ServiceRequest Slot
Specimen SpecimenDefinition StructureDefinition StructureMap Subscription SubscriptionStatus
SubscriptionTopic Substance SubstanceDefinition SubstanceNucleicAcid SubstancePolymer
SubstanceProtein SubstanceReferenceInformation SubstanceSourceMaterial SupplyDelivery
SupplyRequest Task TerminologyCapabilities TestPlan TestReport TestScript Transport ValueSet
VerificationResult VisionPrescription
""".split()  # noqa: SIM905  # A list literal of 158 lines would hide the rest of the file.
# The position in this list (from 1) is stored in every row: names are added at its end only.

_NUMBERS = {name: number for number, name in enumerate(_TYPES, 1)}
_NAMES = ("", *_TYPES)

TEXT_BYTES_MAX = 400
"""A longer key is cut and ends with a digest of the whole: equality holds, prefixes to the cut."""
_CUT_BYTES = 320

TRIGRAM_CODES = frozenset({"name", "family", "given", "phonetic", "address", "address-city"})
"""Search parameters (by code, of any type) whose strings also get trigrams for :contains."""

SERVED_BY_RESOURCE = frozenset(
    parameter_number(name, code) for name in _TYPES for code in ("_id", "_lastUpdated")
)
"""Parameters answered by the columns of `resource` (id, vid): they get no index rows."""

TRIGRAM_PARAMETERS = frozenset(
    parameter_number(name, code) for name in _TYPES for code in TRIGRAM_CODES
)
"""Numbers of the parameters of TRIGRAM_CODES."""

WIDE_MICROSECONDS = 32 * 86_400 * 1_000_000
"""A date row is wide when high - low exceeds this: year precision, open periods, long stays."""


def type_number(name: str) -> int:
    """The stored number (1..) of a resource type; 0 for "" and for names R5 does not know."""
    return _NUMBERS.get(name, 0)


def type_name(number: int) -> str:
    """The resource type of a stored number; "" for 0."""
    return _NAMES[number]


def type_names() -> tuple[str, ...]:
    """All resource types, in the order of their numbers from 1."""
    return _NAMES[1:]


@lru_cache(maxsize=16_384)
def system_number(system: str) -> int:
    """The signed 64-bit number of a code or identifier system; 0 for "".

    The first eight bytes of BLAKE2b: nobody can find a second system with a wanted number, and
    no dictionary must be asked or kept.
    """
    if not system:
        return 0
    digest = hashlib.blake2b(system.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def composite_number(key: str) -> int:
    """The signed 64-bit number of a composite key ("a|b$c|d"), made like `system_number`."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def text_key(text: str) -> str:
    """A text as it stands in an index: whole up to TEXT_BYTES_MAX bytes, else cut plus digest."""
    if len(text) * 4 <= TEXT_BYTES_MAX:
        return text
    raw = text.encode()
    if len(raw) <= TEXT_BYTES_MAX:
        return text
    cut = raw[:_CUT_BYTES].decode(errors="ignore")
    return f"{cut}#{hashlib.blake2b(raw, digest_size=16).hexdigest()}"


def trigrams(folded: str) -> list[int]:
    """The distinct numbers of all runs of three characters of a folded text, in rising order.

    Every run of a searched text is a run of a text that contains it: no padding is added. A
    text under three characters has none (search such by a walk).
    """
    return sorted(grams(folded))


def grams(folded: str) -> frozenset[int]:
    """The numbers of `trigrams`, unsorted."""
    return frozenset([_gram(folded[at : at + 3]) for at in range(len(folded) - 2)])


@lru_cache(maxsize=65_536)
def _gram(three: str) -> int:
    return zlib.crc32(three.encode()) - 2**31
