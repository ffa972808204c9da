#!/usr/bin/env bash
# The public directory of the live platform (IHE mCSD, ITI-90): institutions of a region.
set -euo pipefail
ask() { curl -fsS -H "Authorization: Bearer $(cat token)" -H "Accept: application/fhir+json" "$@"; }
ask "$BASE/fhir/Organization?address-state=1726&active=true&_count=3" | head -c 300
ask "$BASE/fhir/Location?_count=1" | head -c 120
