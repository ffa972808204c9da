#!/usr/bin/env bash
# For a pharmacy: finds a prescription by its number, hands over, comes again after 503, looks again.
set -euo pipefail
fhir="$BASE/sandbox/fhir"
ask() { curl -sS -H "Authorization: Bearer $(cat token)" -H "Content-Type: application/fhir+json" "$@"; }
number='https://dhp.uz/fhir/core/sid/doc/uz/prescription%7C1726-00000017-2'
ask -f "$fhir/MedicationRequest?group-identifier=$number&status=active" | head -c 120
cat >dispense.json <<JSON
{"resourceType":"MedicationDispense","status":"completed",
 "contained":[{"resourceType":"Medication","id":"pack",
  "identifier":[{"system":"https://mobile-api.aslbelgisi.uz/marking",
   "value":"0109521234567895215ABCDEFGHIJKL"}],
  "batch":{"lotNumber":"A12","expirationDate":"2028-05-31"}}],
 "medication":{"reference":{"reference":"#pack"}},
 "subject":{"reference":"Patient/invented-person"},
 "performer":[{"actor":{"reference":"Organization/own-organisation"}}],
 "authorizingPrescription":[{"reference":"MedicationRequest/invented-prescription"}],
 "quantity":{"value":20,"unit":"kapsula"},"whenHandedOver":"2026-11-20T10:00:00+05:00"}
JSON
for try in 1 2 3; do
  status=$(ask -o answer.json -D headers -w '%{http_code}' "$fhir/MedicationDispense" \
    --data-binary @dispense.json)
  [ "$status" = 503 ] || break
  sleep "$(grep -i '^retry-after:' headers | cut -d' ' -f2 | tr -d '\r')"
done
test "$status" = 201
ask -f "$fhir/MedicationDispense?prescription=MedicationRequest/invented-prescription" | head -c 120
