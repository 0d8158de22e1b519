// The schema against the file: what is sound must pass, and what `check` refuses must fail wherever a schema can see it.
//
// Read and validated by programs that share no line with tollgate: `yaml` in its YAML 1.2 mode and `ajv` for draft 2020-12.

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Ajv2020 from "ajv/dist/2020.js";
import { parseAllDocuments } from "yaml";

const root = process.argv[2];
const table = join(root, "tests/schema/disagreements.md");
const read = (...path) => readFileSync(join(root, ...path), "utf8");
const names = (folder, end) => readdirSync(join(root, folder)).filter((name) => name.endsWith(end)).sort();

const schema = JSON.parse(read("schemas/routes.schema.json"));
const validate = new Ajv2020({ allErrors: true, allowUnionTypes: true, strictTypes: false }).compile(schema);

/** Why a text is refused, by the reader or by the schema; nothing when it is accepted. */
function refusals(text) {
  const documents = parseAllDocuments(text, { version: "1.2" });
  const said = documents.flatMap((document) => [...document.errors, ...document.warnings]).map((error) => error.message.split("\n")[0]);
  if (documents.length !== 1) said.push(`${documents.length} documents`);
  if (said.length > 0) return said;
  try {
    return validate(documents[0].toJS()) ? [] : validate.errors.map((error) => `${error.instancePath || "/"} ${error.message}`);
  } catch (error) {
    // An alias that names nothing is told when the values are built.
    return [error.message];
  }
}

/** Whole files, by where they stand: the shipped one, the good ones, and those that the documents show. */
function* sound() {
  yield ["routes.yaml", read("routes.yaml")];
  for (const name of names("tests/config/good", ".yaml")) yield [`good/${name}`, read("tests/config/good", name)];
  for (const page of ["README.md", ...names("docs", ".md").map((name) => `docs/${name}`)]) {
    for (const [, block] of read(page).matchAll(/```yaml\n(.*?)```/gs)) {
      const isWhole = ["version", "providers", "default"].every((key) => new RegExp(`^${key}:`, "m").test(block));
      if (isWhole) yield [page, block];
    }
  }
}

/** The wrong files on which `check` and the schema differ: name, the codes that `check` found, and how they differ. */
function differences() {
  return names("tests/config/bad", ".yaml").flatMap((file) => {
    const name = file.replace(/\.yaml$/, "");
    const told = read("tests/config/bad", `${name}.txt`);
    const codes = (level) => [...new Set([...told.matchAll(new RegExp(`^${level}\\[([a-z-]+)\\]`, "gm"))].map(([, code]) => code))];
    const [errors, why] = [codes("error"), refusals(read("tests/config/bad", file))];
    if (errors.length > 0 && why.length === 0) return [{ name, codes: errors.join(", ") }];
    if (errors.length === 0 && why.length > 0) return [{ name, codes: `refused by the schema alone: ${why.join("; ")}` }];
    return [];
  });
}

const failed = [];
let accepted = 0;
for (const [where, text] of sound()) {
  const why = refusals(text);
  accepted += 1;
  if (why.length > 0) failed.push(`${where} is sound and the schema refuses it: ${why.join("; ")}`);
}

const rows = [...readFileSync(table, "utf8").matchAll(/^\| `([^`]+)` \| (.*?) \| (.*?) \|$/gm)].map(([, name, codes, reason]) => ({ name, codes, reason }));
const found = differences();
if (process.env.UPDATE_GOLDEN) {
  const known = (row) => rows.find((old) => old.name === row.name) ?? rows.find((old) => old.codes === row.codes);
  const lines = found.map((row) => `| \`${row.name}\` | ${row.codes} | ${known(row)?.reason ?? "?"} |\n`);
  writeFileSync(table, readFileSync(table, "utf8").replace(/(\n\|---\|---\|---\|\n)[^]*/, (_, head) => head + lines.join("")));
  console.log(`${found.length} rows written; give each \`?\` its reason`);
} else {
  const line = ({ name, codes }) => `${name} (${codes})`;
  for (const row of found) if (!rows.some((old) => line(old) === line(row))) failed.push(`not in the table of disagreements: ${line(row)}`);
  for (const row of rows) {
    if (!found.some((now) => line(now) === line(row))) failed.push(`in the table of disagreements, and there is none: ${line(row)}`);
    if (row.reason === "?") failed.push(`in the table of disagreements without a reason: ${line(row)}`);
  }
}

const wrong = names("tests/config/bad", ".yaml").length;
console.log(`${accepted} sound files accepted; ${wrong} wrong files, of which ${found.length} are beyond a schema`);
for (const line of failed) console.log(line);
process.exit(failed.length > 0 ? 1 : 0);
