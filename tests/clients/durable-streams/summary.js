// Counts what the suite found. Exits with 1 when a test failed that is not about what this node says it does not support.
import { readFileSync } from "node:fs"

const [results, notSupported] = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, "utf8")))
const tests = results.testResults.flatMap((file) => file.assertionResults)
const failed = tests.filter((test) => test.status === "failed")
const name = (test) => [...test.ancestorTitles, test.title].join(" > ")

const rest = new Set(failed)
const reasons = Object.entries(notSupported).map(([reason, words]) => {
  const about = failed.filter((test) => words.some((word) => name(test).includes(word)))
  about.forEach((test) => rest.delete(test))
  return `  ${about.length} failed because ${reason}`
})
console.log(`durable streams: ${tests.length} tests, ${tests.length - failed.length} passed, ${failed.length} failed`)
console.log(reasons.join("\n"))
console.log(`  ${rest.size} failed for other reasons`)
for (const test of rest) {
  console.log(`    ${name(test)}\n      ${(test.failureMessages[0] ?? "").split("\n")[0]}`)
}
process.exitCode = rest.size > 0 || tests.length === 0 ? 1 : 0
