// fhirpath.js on the cases of bench/fhirpath.py: `peer.js CASES check|SECONDS`; prints JSON.
const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');
// The package stands in the environment of the bench, beside which this script is started.
const load = createRequire(path.join(process.cwd(), 'package.json'));
const fhirpath = load('fhirpath');
const model = load('fhirpath/fhir-context/r5');

const cases = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const made = [];
const failed = [];
for (const [type, given] of Object.entries(cases)) {
  for (const text of given.expressions) {
    try {
      made.push([type, text, fhirpath.compile(text, model), given.records]);
    } catch (error) {
      failed.push([type, text, String(error).slice(0, 120)]);
    }
  }
}

function check() {
  const counts = {};
  for (const [type, text, run, records] of made) {
    try {
      counts[`${type}: ${text}`] = records.reduce((sum, record) => sum + run(record).length, 0);
    } catch (error) {
      failed.push([type, text, String(error).slice(0, 120)]);
    }
  }
  return { counts, failed };
}

function measure(seconds) {
  let done = 0;
  let spent = 0;
  const began = process.hrtime.bigint();
  while (spent < seconds) {
    for (const [, , run, records] of made) {
      for (const record of records) run(record);
      done += records.length;
    }
    spent = Number(process.hrtime.bigint() - began) / 1e9;
  }
  return { rate: done / spent };
}

const asked = process.argv[3];
if (asked !== 'check') measure(1); // The compiler of the engine warms up first.
console.log(JSON.stringify(asked === 'check' ? check() : measure(Number(asked))));
