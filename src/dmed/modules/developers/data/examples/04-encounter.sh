#!/usr/bin/env bash
# Records a visit of that person at your institution.
set -euo pipefail
cat >encounter.json <<JSON
{"resourceType":"Encounter","status":"completed",
 "meta":{"profile":["https://dhp.uz/fhir/core/StructureDefinition/uz-core-encounter"]},
 "class":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"AMB"}]}],
 "type":[{"coding":[{"code":"mserv-0001-00003",
  "system":"https://terminology.dhp.uz/fhir/core/CodeSystem/encounter-type-cs"}]}],
 "subject":{"reference":"Patient/$(cat patient.id)"},
 "serviceProvider":{"reference":"Organization/own-organisation"},
 "actualPeriod":{"start":"2026-11-20T09:00:00+05:00","end":"2026-11-20T09:20:00+05:00"}}
JSON
curl -fsS "$BASE/sandbox/fhir/Encounter" -H "Authorization: Bearer $(cat token)" \
  -H "Content-Type: application/fhir+json" --data-binary @encounter.json | head -c 120
