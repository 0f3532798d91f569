#!/usr/bin/env bash
# cron-parser 2.7.3 (npm) keeps of a range in a list only what is beyond all that comes before it, and 7 for Sunday only where it
# is no part of a range. Both without an error: a schedule runs, and some of its runs never come. 4.9.0 reads both as written.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-audit --no-fund --prefix "$folder" \
    old@npm:cron-parser@2.7.3 new@npm:cron-parser@4.9.0 is-nan@1.3.2 moment-timezone@0.5.48
NODE_PATH=$folder/node_modules node <<'JS'
const readers = { "2.7.3": require("old"), "4.9.0": require("new") };
const runs = (version, text, count, part) => {
    const schedule = readers[version].parseExpression(text, { utc: true, currentDate: new Date("2026-01-15T12:00:00Z") });
    return [...new Set(Array.from({ length: count }, () => part(schedule.next().toDate())))].sort((a, b) => a - b).join(" ");
};
let isAsExpected = true;
const say = (text, what, count, part, wanted, old) => {
    console.log(`${text}: ${what} should be ${wanted}`);
    for (const [version, expected] of [["2.7.3", old], ["4.9.0", wanted]]) {
        const seen = runs(version, text, count, part);
        console.log(`  cron-parser ${version}: ${seen}`);
        isAsExpected &&= seen === expected;
    }
};
say("0 22-23,0-6 * * *", "the hours", 40, run => run.getUTCHours(), "0 1 2 3 4 5 6 22 23", "22 23");
say("0 0 * * 5-7", "the days of the week", 20, run => run.getUTCDay(), "0 5 6", "5 6");
console.log(isAsExpected ? "As described." : "NOT as described any more.");
process.exit(isAsExpected ? 0 : 1);
JS
