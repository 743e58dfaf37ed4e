// What `run.py` gives a Node client, and how the client reports. See README.md.

import { readFileSync } from "node:fs";

export const CASE = JSON.parse(process.env.EPITOME_CASE);
export const { url: ROOT, question: QUESTION, system: SYSTEM } = CASE;
export const DOCUMENT = readFileSync(CASE.file, "utf8");

// Runs the variant that the command line names. It returns the answer and what else should not change.
export async function main(name, variants) {
  const { version } = JSON.parse(readFileSync(`${CASE.modules}/${name}/package.json`, "utf8"));
  const [answer, ...facts] = await variants[process.argv[2]]();
  console.log(JSON.stringify({ version, answer, facts }));
}

export function assert(holds, what) {
  if (!holds) throw new Error(what);
}

// The modules lie outside the repository, so they cannot be found from here by their bare names.
export async function load(name) {
  const { createRequire } = await import("node:module");
  return createRequire(`${CASE.modules}/`)(name);
}
