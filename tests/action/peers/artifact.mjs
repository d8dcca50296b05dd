// The official artifact client, called once: node artifact.mjs '["uploadArtifact", "name", ["file"], "root", {}]'
// Prints the answer as the last line, as JSON: {"value": ...} or {"error": "..."}.
import { DefaultArtifactClient } from "@actions/artifact";

const [method, ...args] = JSON.parse(process.argv[2]);
let answer;
try {
  answer = { value: await new DefaultArtifactClient()[method](...args) };
} catch (error) {
  answer = { error: `${error.name}: ${error.message}` };
}
console.log(`\n${JSON.stringify(answer)}`);
process.exit(0);
