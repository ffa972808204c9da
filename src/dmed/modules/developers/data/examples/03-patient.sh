#!/usr/bin/env bash
# Searches for a person by PINFL, makes a card only where there is none, then changes it safely.
set -euo pipefail
fhir="$BASE/sandbox/fhir" pinfl=${PINFL:-30203910000029}
ask() { curl -fsS -H "Authorization: Bearer $(cat token)" -H "Content-Type: application/fhir+json" "$@"; }
system=https://dhp.uz/fhir/core/sid/pid/uz/ni
ask "$fhir/Patient?identifier=$system%7C$pinfl" | head -c 120
cat >patient.json <<JSON
{"resourceType":"Patient",
 "meta":{"profile":["https://dhp.uz/fhir/core/StructureDefinition/uz-core-patient"]},
 "identifier":[{"use":"official","system":"$system","value":"$pinfl",
  "type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"NI"}]}}],
 "name":[{"family":"Namunayev","given":["Namuna"]}],"gender":"male","birthDate":"1991-03-02"}
JSON
ask -D headers -o made.json "$fhir/Patient" --data-binary @patient.json \
  -H "If-None-Exist: identifier=$system|$pinfl"
id=$(sed 's/.*"resourceType":"Patient","id":"\([^"]*\)".*/\1/' made.json)
etag=$(grep -i '^etag:' headers | cut -d' ' -f2 | tr -d '\r')
sed "s/\"resourceType\":\"Patient\"/&,\"id\":\"$id\"/; s/\"Namuna\"/\"Namuna\",\"O‘rnak\"/" \
  patient.json >changed.json
ask -X PUT "$fhir/Patient/$id" -H "If-Match: $etag" --data-binary @changed.json >/dev/null
echo "$id" >patient.id && echo "Patient/$id made and changed"
