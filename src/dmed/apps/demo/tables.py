"""What happens to people in the synthetic country: diseases, treatments, measurements, vaccines.

Plausible figures of our own, made to fill screens and to load the store; no statistics of any
real place. ICD-10, LOINC and CVX codes are bare facts, names are in our own words.
"""

from __future__ import annotations

import msgspec


class Acute(msgspec.Struct, frozen=True):
    """A disease that passes: how often by age, what is given, what is measured."""

    code: str
    name: str
    child: int
    """Weight among the acute visits up to 14 years, at 15 to 59, from 60."""
    adult: int
    old: int
    days: int
    for_child: tuple[str, ...] = ()
    """Keys of preparations, most usual first."""
    for_adult: tuple[str, ...] = ()
    panel: str = ""
    panel_share: float = 0.0
    has_fever: bool = False
    sex: str = ""


class Chronic(msgspec.Struct, frozen=True):
    """A disease that stays: how many have it by age, what is taken for good, what is followed."""

    code: str
    name: str
    at_20: float
    at_40: float
    at_60: float
    at_75: float
    woman_factor: float
    medicines: tuple[str, ...]
    panel: str
    visits_year: float


class Analyte(msgspec.Struct, frozen=True):
    """One kind of measurement."""

    loinc: str
    name: str
    unit: str
    """UCUM code."""
    shown: str
    low: float
    high: float
    mean: float
    spread: float
    digits: int = 1
    woman_mean: float = 0.0
    woman_low: float = 0.0
    woman_high: float = 0.0


class Panel(msgspec.Struct, frozen=True):
    """A laboratory report and what stands in it."""

    loinc: str
    name: str
    category: str
    """v2-0074."""
    analytes: tuple[str, ...]


class Vaccine(msgspec.Struct, frozen=True):
    """A dose of the calendar: age in days, CVX code, name, share that got it."""

    age_days: int
    cvx: str
    name: str
    dose: int
    share: float = 0.96
    sex: str = ""
    since: int = 2000


_PARACETAMOL = "paracetamol-tablet-500mg"
_SYRUP = "paracetamol-syrup-120mg-5ml-100"
_IBUPROFEN = "ibuprofen-film-tablet-400mg"

ACUTE = (
    Acute("J06.9", "O‘tkir respirator infeksiya", 300, 190, 110, 9,
          (_SYRUP, "ibuprofen-suspension-100mg-5ml-100"),
          (_PARACETAMOL, "xylometazoline-nasal-drops-0_1pc-10"), "cbc", 0.18, has_fever=True),
    Acute("J20.9", "O‘tkir bronxit", 60, 70, 70, 14,
          ("ambroxol-syrup-15mg-5ml-100", "amoxicillin-suspension-powder-250mg-5ml-100"),
          ("ambroxol-tablet-30mg", "azithromycin-film-tablet-500mg"), "cbc", 0.5, has_fever=True),
    Acute("J03.9", "O‘tkir tonzillit", 50, 45, 8, 10,
          ("amoxicillin-suspension-powder-250mg-5ml-100", _SYRUP),
          ("amoxicillin-capsule-500mg", _PARACETAMOL), "cbc", 0.3, has_fever=True),
    Acute("J18.9", "Pnevmoniya", 12, 14, 32, 24,
          ("cefixime-suspension-powder-100mg-5ml-60", _SYRUP),
          ("amoxicillin-clavulanic-acid-film-tablet-875mg-125mg", "ambroxol-tablet-30mg"),
          "cbc", 0.95, has_fever=True),
    Acute("J01.9", "O‘tkir sinusit", 12, 28, 10, 12, ("xylometazoline-nasal-spray-0_05pc-140",),
          ("amoxicillin-clavulanic-acid-film-tablet-500mg-125mg",
           "xylometazoline-nasal-drops-0_1pc-10"), "cbc", 0.2),
    Acute("H66.9", "O‘rta otit", 38, 10, 5, 11,
          ("amoxicillin-suspension-powder-250mg-5ml-100", _SYRUP),
          ("amoxicillin-capsule-500mg", _IBUPROFEN), "cbc", 0.15),
    Acute("A09", "Ich ketishi va gastroenterit", 48, 26, 18, 6,
          ("zinc-sulfate-dispersible-tablet-20mg",), ("loperamide-capsule-2mg",), "cbc", 0.25,
          has_fever=True),
    Acute("K29.1", "O‘tkir gastrit", 6, 46, 34, 20, (),
          ("omeprazole-enteric-capsule-20mg", "drotaverine-tablet-40mg"), "chem", 0.2),
    Acute("N30.0", "O‘tkir sistit", 5, 38, 26, 9, (),
          ("fosfomycin-granules-sachet-3g", "nitrofurantoin-tablet-50mg"), "urine", 0.9,
          sex="female"),
    Acute("N39.0", "Siydik yo‘llari infeksiyasi", 8, 14, 22, 12,
          ("cefixime-suspension-powder-100mg-5ml-60",), ("ciprofloxacin-film-tablet-500mg",),
          "urine", 0.9),
    Acute("M54.5", "Bel og‘rig‘i", 1, 70, 66, 25, (),
          ("diclofenac-enteric-tablet-50mg", "tolperisone-film-tablet-150mg"), "", 0.0),
    Acute("L20.9", "Atopik dermatit", 30, 10, 4, 40, ("cetirizine-oral-drops-10mg-1ml-10",),
          ("loratadine-tablet-10mg", "mometasone-cream-0_1pc-15"), "", 0.0),
    Acute("L50.9", "Eshakemi", 12, 14, 6, 8, ("loratadine-syrup-5mg-5ml-100",),
          ("cetirizine-film-tablet-10mg",), "", 0.0),
    Acute("H10.9", "Konyunktivit", 22, 16, 12, 9, ("tobramycin-eye-drops-0_3pc-5",),
          ("tobramycin-eye-drops-0_3pc-5",), "", 0.0),
    Acute("G43.9", "Migren", 2, 24, 6, 2, (), (_IBUPROFEN,), "", 0.0),
    Acute("R51", "Bosh og‘rig‘i", 6, 20, 16, 3, (), (_PARACETAMOL,), "", 0.0),
    Acute("S93.4", "To‘piq bo‘g‘imi cho‘zilishi", 8, 12, 5, 21, (), ("diclofenac-gel-1pc-40",),
          "", 0.0),
    Acute("T14.9", "Yengil jarohat", 16, 14, 9, 10, (),
          ("chlorhexidine-external-solution-0_05pc-100",), "", 0.0),
    Acute("K02.1", "Tish kariesi", 26, 40, 14, 1, (), (), "", 0.0),
    Acute("B37.3", "Vulvovaginal kandidoz", 0, 20, 4, 10, (), ("fluconazole-capsule-150mg",),
          "", 0.0, sex="female"),
    Acute("N76.0", "O‘tkir vaginit", 0, 14, 3, 12, (),
          ("metronidazole-vaginal-suppository-500mg",), "", 0.0, sex="female"),
    Acute("B02.9", "O‘rab oluvchi temiratki", 0, 4, 9, 20, (), ("aciclovir-tablet-400mg",), "", 0),
    Acute("B80", "Enterobioz", 20, 2, 0, 14, ("albendazole-suspension-200mg-5ml-20",), (), "", 0.0),
    Acute("F41.9", "Xavotir buzilishi", 0, 12, 8, 60, (), ("escitalopram-film-tablet-10mg",),
          "", 0.0),
)  # fmt: skip  # One disease a paragraph.

CHRONIC = (
    Chronic("I10", "Birlamchi gipertenziya", 0.005, 0.09, 0.36, 0.55, 1.05,
            ("amlodipine-tablet-5mg", "enalapril-tablet-10mg", "indapamide-er-tablet-1_5mg"),
            "chem", 1.3),
    Chronic("E11.9", "2-tur qandli diabet", 0.002, 0.03, 0.12, 0.17, 1.1,
            ("metformin-film-tablet-1000mg", "gliclazide-er-tablet-60mg"), "diabetes", 1.6),
    Chronic("I25.9", "Yurak ishemik kasalligi", 0.0, 0.01, 0.14, 0.30, 0.8,
            ("acetylsalicylic-acid-enteric-tablet-75mg", "atorvastatin-film-tablet-20mg",
             "bisoprolol-film-tablet-5mg"), "lipids", 1.4),
    Chronic("J45.9", "Bronxial astma", 0.02, 0.025, 0.035, 0.04, 1.0,
            ("salbutamol-inhaler-100ug-200", "formoterol-budesonide-powder-inhaler-4_5ug-160ug-60"),
            "cbc", 0.9),
    Chronic("J44.9", "Surunkali obstruktiv o‘pka kasalligi", 0.0, 0.01, 0.06, 0.10, 0.5,
            ("tiotropium-bromide-inhalation-capsule-18ug", "salbutamol-inhaler-100ug-200"),
            "cbc", 1.0),
    Chronic("D50.9", "Temir tanqisligi kamqonligi", 0.10, 0.09, 0.05, 0.06, 1.7,
            ("ferrous-sulfate-er-tablet-80mg",), "cbc", 0.7),
    Chronic("E04.9", "Toksik bo‘lmagan buqoq", 0.03, 0.05, 0.07, 0.07, 1.5,
            ("levothyroxine-sodium-tablet-50ug",), "thyroid", 0.6),
    Chronic("K29.5", "Surunkali gastrit", 0.04, 0.10, 0.14, 0.15, 1.0,
            ("omeprazole-enteric-capsule-20mg",), "chem", 0.5),
    Chronic("M17.9", "Gonartroz", 0.0, 0.02, 0.14, 0.25, 1.3, ("meloxicam-tablet-7_5mg",), "chem",
            0.6),
    Chronic("N11.9", "Surunkali pielonefrit", 0.02, 0.03, 0.05, 0.07, 1.5,
            ("norfloxacin-film-tablet-400mg",), "urine", 0.6),
    Chronic("K80.2", "O‘t-tosh kasalligi", 0.004, 0.03, 0.07, 0.10, 1.5,
            ("ursodeoxycholic-acid-capsule-250mg",), "chem", 0.4),
    Chronic("I83.9", "Oyoq venalari varikozi", 0.01, 0.05, 0.08, 0.10, 1.5, (), "", 0.2),
    Chronic("E66.9", "Semizlik", 0.02, 0.07, 0.11, 0.09, 1.2, (), "lipids", 0.3),
    Chronic("I50.9", "Yurak yetishmovchiligi", 0.0, 0.002, 0.03, 0.10, 0.9,
            ("torasemide-tablet-10mg", "spironolactone-tablet-25mg", "ramipril-capsule-5mg"),
            "chem", 1.8),
    Chronic("N40", "Prostata bezi giperplaziyasi", 0.0, 0.01, 0.16, 0.30, 0.0,
            ("tamsulosin-er-capsule-0_4mg",), "urine", 0.5),
    Chronic("G40.9", "Epilepsiya", 0.004, 0.005, 0.006, 0.006, 1.0,
            ("carbamazepine-tablet-200mg",), "chem", 0.9),
    Chronic("M06.9", "Revmatoid artrit", 0.001, 0.005, 0.010, 0.012, 1.6,
            ("methotrexate-tablet-2_5mg", "folic-acid-tablet-1mg"), "cbc", 1.4),
    Chronic("B18.2", "Surunkali virusli gepatit C", 0.003, 0.02, 0.03, 0.03, 1.0, (), "chem",
            0.7),
    Chronic("F32.9", "Depressiya", 0.006, 0.012, 0.015, 0.015, 1.4,
            ("sertraline-film-tablet-50mg",), "", 0.8),
    Chronic("N18.3", "Surunkali buyrak kasalligi, 3-bosqich", 0.001, 0.006, 0.04, 0.09, 1.0,
            ("torasemide-tablet-5mg",), "chem", 1.2),
)  # fmt: skip  # One disease a paragraph.

ANALYTES = {
    "hb": Analyte("718-7", "Gemoglobin", "g/L", "g/L", 130, 165, 146, 9, 0, 126, 120, 150),
    "rbc": Analyte("789-8", "Eritrotsitlar", "10*12/L", "10¹²/L", 4.0, 5.6, 4.8, 0.3, 2, 4.4, 3.8,
                   5.1),
    "wbc": Analyte("6690-2", "Leykotsitlar", "10*9/L", "10⁹/L", 4.0, 9.0, 6.4, 1.3),
    "plt": Analyte("777-3", "Trombotsitlar", "10*9/L", "10⁹/L", 180, 320, 248, 38, 0),
    "esr": Analyte("30341-2", "EChT", "mm/h", "mm/soat", 1, 15, 8, 4, 0),
    "glu": Analyte("14771-0", "Glyukoza, och qoringa", "mmol/L", "mmol/L", 3.9, 5.9, 4.9, 0.4),
    "hba1c": Analyte("4548-4", "Glikirlangan gemoglobin", "%", "%", 4.0, 6.0, 5.3, 0.3),
    "crea": Analyte("14682-9", "Kreatinin", "umol/L", "mkmol/L", 62, 115, 84, 11, 0, 70, 53, 97),
    "urea": Analyte("22664-7", "Mochevina", "mmol/L", "mmol/L", 2.5, 8.3, 5.0, 1.1),
    "alt": Analyte("1742-6", "ALT", "U/L", "U/L", 5, 41, 22, 8, 0),
    "ast": Analyte("1920-8", "AST", "U/L", "U/L", 5, 40, 23, 7, 0),
    "bili": Analyte("14631-6", "Umumiy bilirubin", "umol/L", "mkmol/L", 3.4, 20.5, 11.0, 3.5),
    "chol": Analyte("14647-2", "Umumiy xolesterin", "mmol/L", "mmol/L", 3.0, 5.2, 4.7, 0.7),
    "ldl": Analyte("22748-8", "Past zichlikdagi lipoproteinlar", "mmol/L", "mmol/L", 1.5, 3.4,
                   2.8, 0.6),
    "tg": Analyte("14927-8", "Triglitseridlar", "mmol/L", "mmol/L", 0.4, 1.7, 1.2, 0.4),
    "tsh": Analyte("3016-3", "TTG", "m[IU]/L", "mXB/L", 0.4, 4.0, 2.0, 0.8, 2),
    "ft4": Analyte("14920-3", "Erkin tiroksin", "pmol/L", "pmol/L", 10, 22, 15, 2.4),
    "ulev": Analyte("5821-4", "Siydikda leykotsitlar", "/[HPF]", "/k.m.", 0, 5, 2.5, 1.5, 0),
    "upro": Analyte("2888-6", "Siydikda oqsil", "g/L", "g/L", 0, 0.14, 0.05, 0.03, 2),
    "usg": Analyte("5811-5", "Siydik zichligi", "{specific_gravity}", "", 1.005, 1.03, 1.017,
                   0.005, 3),
}  # fmt: skip  # One analyte a line or two.

PANELS = {
    "cbc": Panel("58410-2", "Umumiy qon tahlili", "HM", ("hb", "rbc", "wbc", "plt", "esr")),
    "chem": Panel("24323-8", "Qon biokimyosi", "CH",
                  ("glu", "crea", "urea", "alt", "ast", "bili", "chol")),
    "diabetes": Panel("55399-0", "Diabet nazorati", "CH", ("glu", "hba1c", "crea", "chol")),
    "lipids": Panel("24331-1", "Lipidlar", "CH", ("chol", "ldl", "tg", "glu")),
    "thyroid": Panel("55204-2", "Qalqonsimon bez", "CH", ("tsh", "ft4")),
    "urine": Panel("24356-8", "Umumiy siydik tahlili", "LAB", ("ulev", "upro", "usg")),
}  # fmt: skip  # One panel a line or two.

SHIFTS: dict[str, dict[str, float]] = {
    "D50.9": {"hb": -24, "rbc": -0.5},
    "O99.0": {"hb": -22, "rbc": -0.4},
    "E11.9": {"glu": 3.1, "hba1c": 2.0, "tg": 0.7},
    "I25.9": {"chol": 0.9, "ldl": 0.8},
    "E66.9": {"tg": 0.8, "chol": 0.6, "glu": 0.5},
    "B18.2": {"alt": 38, "ast": 30, "bili": 5},
    "N18.3": {"crea": 62, "urea": 4.5},
    "E04.9": {"tsh": 1.6},
    "M06.9": {"esr": 19, "wbc": 1.6},
    "N11.9": {"ulev": 8, "upro": 0.07},
    "J18.9": {"wbc": 6.0, "esr": 22},
    "J20.9": {"wbc": 2.2, "esr": 8},
    "J03.9": {"wbc": 4.0, "esr": 10},
    "J06.9": {"wbc": 1.0, "esr": 4},
    "N30.0": {"ulev": 45, "upro": 0.1},
    "N39.0": {"ulev": 38, "upro": 0.12},
    "A09": {"wbc": 2.0},
}
"""How a disease moves the measurements."""

_MONTH = 30
VACCINES = (
    Vaccine(1, "08", "Gepatit B", 1), Vaccine(3, "19", "BCG", 1),
    Vaccine(2 * _MONTH, "198", "Pentavalent", 1), Vaccine(2 * _MONTH, "178", "Poliomiyelit", 1),
    Vaccine(2 * _MONTH, "119", "Rotavirus", 1), Vaccine(2 * _MONTH, "133", "Pnevmokokk", 1),
    Vaccine(3 * _MONTH, "198", "Pentavalent", 2), Vaccine(3 * _MONTH, "178", "Poliomiyelit", 2),
    Vaccine(3 * _MONTH, "119", "Rotavirus", 2), Vaccine(3 * _MONTH, "133", "Pnevmokokk", 2),
    Vaccine(4 * _MONTH, "198", "Pentavalent", 3), Vaccine(4 * _MONTH, "178", "Poliomiyelit", 3),
    Vaccine(4 * _MONTH, "10", "Poliomiyelit, inaktiv", 1),
    Vaccine(365, "03", "Qizamiq, parotit, qizilcha", 1), Vaccine(365, "133", "Pnevmokokk", 3),
    Vaccine(486, "01", "Bo‘g‘ma, ko‘kyo‘tal, qoqshol", 4),
    Vaccine(486, "178", "Poliomiyelit", 4),
    Vaccine(6 * 365, "03", "Qizamiq, parotit, qizilcha", 2, 0.94),
    Vaccine(7 * 365, "28", "Bo‘g‘ma, qoqshol", 5, 0.93),
    Vaccine(7 * 365 + 40, "178", "Poliomiyelit", 5, 0.9),
    Vaccine(9 * 365 + 60, "62", "Odam papilloma virusi", 1, 0.9, "female", 2019),
    Vaccine(9 * 365 + 260, "62", "Odam papilloma virusi", 2, 0.86, "female", 2019),
    Vaccine(16 * 365, "09", "Bo‘g‘ma, qoqshol, kattalar", 6, 0.85),
    Vaccine(26 * 365, "09", "Bo‘g‘ma, qoqshol, kattalar", 7, 0.5),
    Vaccine(36 * 365, "09", "Bo‘g‘ma, qoqshol, kattalar", 8, 0.35),
    Vaccine(46 * 365, "09", "Bo‘g‘ma, qoqshol, kattalar", 9, 0.3),
)  # fmt: skip  # The calendar, two doses a line.
COVID = (("506", "COVID-19, rekombinant"), ("208", "COVID-19, mRNK"), ("210", "COVID-19, vektorli"))
INFLUENZA = ("141", "Gripp")

ALLERGENS = (
    # (name, INN, ATC group, category, weight)
    ("Penitsillinlar", "", "J01C", "medication", 30),
    ("Sulfanilamidlar", "", "J01E", "medication", 12),
    ("Metamizol natriy", "metamizole sodium", "N02BB02", "medication", 9),
    ("Asetilsalitsil kislota", "acetylsalicylic acid", "B01AC06", "medication", 9),
    ("Lidokain", "lidocaine", "N01BB02", "medication", 6),
    ("O‘simlik changi", "", "", "environment", 22),
    ("Uy changi", "", "", "environment", 12),
    ("Yeryong‘oq", "", "", "food", 7),
    ("Tuxum", "", "", "food", 6),
)  # fmt: skip  # A table.

PROCEDURES = (
    ("Elektrokardiografiya", 40), ("Qorin bo‘shlig‘i ultratovush tekshiruvi", 28),
    ("Fizioterapiya kursi", 18), ("Tish plombalash", 25), ("Ko‘krak qafasi rentgeni", 22),
    ("Bog‘lam qo‘yish", 8), ("Qalqonsimon bez ultratovush tekshiruvi", 8),
)  # fmt: skip  # A table.
