#!/usr/bin/env bash
# Sends a diagnosis and a measurement in one transaction; comes again after 503 as it is told.
set -euo pipefail
person="Patient/$(cat patient.id)"
cat >bundle.json <<JSON
{"resourceType":"Bundle","type":"transaction","entry":[
 {"fullUrl":"urn:uuid:6f1c1f6e-0b1e-4b59-9d0a-2f6b7a9c0001","request":{"method":"POST","url":"Encounter"},
  "resource":{"resourceType":"Encounter","status":"completed","subject":{"reference":"$person"},
   "class":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"AMB"}]}]}},
 {"fullUrl":"urn:uuid:6f1c1f6e-0b1e-4b59-9d0a-2f6b7a9c0002","request":{"method":"POST","url":"Observation"},
  "resource":{"resourceType":"Observation","status":"final","subject":{"reference":"$person"},
   "encounter":{"reference":"urn:uuid:6f1c1f6e-0b1e-4b59-9d0a-2f6b7a9c0001"},
   "code":{"text":"Tana harorati"},"effectiveDateTime":"2026-11-20T09:05:00+05:00",
   "valueQuantity":{"value":36.7,"unit":"°C","system":"http://unitsofmeasure.org","code":"Cel"}}}]}
JSON
for try in 1 2 3; do
  status=$(curl -sS -o answer.json -D headers -w '%{http_code}' "$BASE/sandbox/fhir" \
    -H "Authorization: Bearer $(cat token)" -H "Content-Type: application/fhir+json" \
    --data-binary @bundle.json)
  [ "$status" = 503 ] || break
  sleep "$(grep -i '^retry-after:' headers | cut -d' ' -f2 | tr -d '\r')"
done
echo "try $try: $status" && test "$status" = 200
