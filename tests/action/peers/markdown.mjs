// Markdown as GitHub shows it: node markdown.mjs FILE.md FILE.html ...
// The parser and the list of allowed elements are those that follow GitHub's, and so is the order: HTML is cleaned, then
// alerts are made. A line of a comment ends where its text does.
import { readFileSync, writeFileSync } from "node:fs";
import { rehypeGithubAlerts } from "rehype-github-alerts";
import rehypeRaw from "rehype-raw";
import rehypeSanitize from "rehype-sanitize";
import rehypeStringify from "rehype-stringify";
import remarkBreaks from "remark-breaks";
import remarkGfm from "remark-gfm";
import remarkParse from "remark-parse";
import remarkRehype from "remark-rehype";
import { unified } from "unified";

const github = unified()
  .use(remarkParse)
  .use(remarkGfm)
  .use(remarkBreaks)
  .use(remarkRehype, { allowDangerousHtml: true })
  .use(rehypeRaw)
  .use(rehypeSanitize)
  .use(rehypeGithubAlerts)
  .use(rehypeStringify);

const names = process.argv.slice(2);
for (let index = 0; index < names.length; index += 2) {
  writeFileSync(names[index + 1], String(await github.process(readFileSync(names[index], "utf8"))));
}
