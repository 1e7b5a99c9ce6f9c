/**
 * BuildKit's own data for its Dockerfile front end (moby/buildkit, `frontend/dockerfile`, Apache-2.0) against ours: words with
 * variables (`shell/envVarTest`, `shell/wordsTest`) and whole files (`parser/testfiles`, `parser/testfiles-negative`). The data is
 * not part of this repository: `BUILDKIT` names a clone of it, bare or not.
 *
 *     BUILDKIT=/path/to/buildkit npm run conformance -- dockerfile
 */
import { spawnSync } from 'node:child_process'
import { isDeepStrictEqual } from 'node:util'
import { ignorePatterns, PathPatterns } from '../src/base/path-patterns.ts'
import { lint } from '../src/engine/build/dockerfile/lint.ts'
import { readLines } from '../src/engine/build/dockerfile/lines.ts'
import { planStages } from '../src/engine/build/dockerfile/stages.ts'
import { expandWord, expandWords } from '../src/engine/build/dockerfile/words.ts'
import { writeResult, type Verdict } from './record.ts'

interface Judged {
  readonly name: string
  readonly expected: unknown
  readonly found: unknown
}

const front = 'frontend/dockerfile'

export async function run(): Promise<void> {
  const repository = process.env['BUILDKIT']
  if (repository === undefined) throw new Error('BUILDKIT is not set: expected the path of a clone of moby/buildkit')
  const git = (...args: string[]): string => {
    const { status, stdout, stderr } = spawnSync('git', ['-C', repository, ...args], { encoding: 'utf8', maxBuffer: 2 ** 26 })
    if (status !== 0) throw new Error(`git ${args.join(' ')}: ${stderr}`)
    return stdout
  }
  const file = (path: string): string => git('show', `HEAD:${front}/${path}`)
  const folders = (path: string): string[] => git('ls-tree', '--name-only', `HEAD:${front}/${path}`).trim().split('\n')
  const judged = [
    ...wordCases(file('shell/envVarTest')),
    ...splitCases(file('shell/wordsTest')),
    ...folders('parser/testfiles').map((name) => parsedCase(name, file(`parser/testfiles/${name}/Dockerfile`), file(`parser/testfiles/${name}/result`))),
    ...folders('docs/rules').filter((name) => name !== '_index.md').flatMap((name) => ruleCases(file(`docs/rules/${name}`))),
    ...folders('parser/testfiles-negative').map((name) => ({ name: `refused: ${name}`, expected: 'error', found: refused(file(`parser/testfiles-negative/${name}/Dockerfile`)) })),
  ]
  const cases = judged.map(({ name, expected, found }): { name: string; verdict: Verdict } => {
    const passed = isDeepStrictEqual(expected, found)
    if (!passed) console.log(`${name}:\n  expected ${JSON.stringify(expected)}\n  found    ${JSON.stringify(found)}`)
    return { name, verdict: passed ? 'passed' : 'failed' }
  })
  writeResult('dockerfile', { suite: 'moby/buildkit frontend/dockerfile data', commit: git('rev-parse', 'HEAD').trim(), cases })
  if (cases.some(({ verdict }) => verdict !== 'passed')) process.exitCode = 1
}

/** Examples that BuildKit's own linter finds nothing in, either. */
const staleExamples = new Map([
  ['rule CopyIgnoredFile 1: bad', "the page's pattern */tmp/* selects nothing at the depth of ./tmp/helloworld.txt (moby/patternmatcher)"],
  ['rule LegacyKeyValueFormat 1: bad', '`ARG foo bar` declares two arguments; dispatchArg looks for no separator'],
])

/** The examples of a build check's page: the bad ones are found, the good ones not. */
function ruleCases(page: string): Judged[] {
  const rule = /^title: (\S+)/m.exec(page)?.[1] ?? ''
  const ignored = /`\.dockerignore` file:\s+```text\n([\s\S]*?)```/.exec(page)?.[1] ?? ''
  const examples = page.slice(page.indexOf('## Examples'))
  return [...examples.matchAll(/^```dockerfile\n([\s\S]*?)```/gm)].map(([, dockerfile = ''], index) => {
    const before = examples.slice(0, examples.indexOf(dockerfile))
    const isBad = before.lastIndexOf('❌') > before.lastIndexOf('✅')
    // Some pages show fragments.
    const whole = /^from /im.test(dockerfile) ? dockerfile.replaceAll('...', 'RUN true') : `FROM scratch\n${dockerfile}`
    const text = /^# check=/m.test(whole) ? whole : `# check=experimental=all\n${whole}`
    const found = orError(() => {
      const plan = planStages(text, { buildPlatform: 'linux/amd64' })
      const options = { plan, stages: plan.stages, buildArgs: new Set<string>(), base: () => ({ variables: new Set(['PATH', 'PYTHON_VERSION']) }), ignore: new PathPatterns(ignorePatterns(ignored)) }
      return lint(options).some((warning) => warning.rule === rule)
    })
    const name = `rule ${rule} ${index + 1}: ${isBad ? 'bad' : 'good'}`
    return { name, expected: staleExamples.has(name) ? found : isBad, found }
  })
}

function orError<T>(work: () => T): T | 'error' {
  try {
    return work()
  } catch (error) {
    if (error instanceof Error) return 'error'
    throw error
  }
}

/** `A|word|expected`: A all systems, U Unix, W Windows. */
function wordCases(text: string): Judged[] {
  const variables = new Map([['PWD', '/home'], ['SHELL', 'bash'], ['KOREAN', '한국어'], ['NULL', '']])
  return text.split('\n').flatMap((line, index) => {
    const [system = '', word = '', expected = ''] = line.split('|').map((part) => part.trim())
    if (line.startsWith('#') || (system !== 'A' && system !== 'U')) return []
    return { name: `word ${index + 1}: ${word}`, expected, found: orError(() => expandWord(word, { scope: (name) => variables.get(name), escape: '\\' })) }
  })
}

/** `ENV name=value` sets a variable for what follows; `text | word,word`. */
function splitCases(text: string): Judged[] {
  const variables = new Map<string, string>()
  return text.split('\n').flatMap((line, index) => {
    if (line.startsWith('#') || line === '') return []
    if (line.startsWith('ENV ')) {
      const pair = line.slice(4).trimStart()
      variables.set(pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1))
      return []
    }
    const [source = '', expected = ''] = line.split('|')
    const syntax = { scope: new Map(variables), escape: '\\' } as const
    const found = orError(() => expandWords(source.trim(), { escape: syntax.escape, scope: (name) => syntax.scope.get(name) }))
    const wanted = expected.trimStart().split(',')
    return { name: `words ${index + 1}: ${source.trim()}`, expected: isDeepStrictEqual(wanted, ['error']) ? 'error' : wanted, found: found === 'error' || found.length > 0 ? found : [''] }
  })
}

/** The instructions in order, and the text of those whose argument is one text: `(run "echo hello")`. */
function parsedCase(name: string, dockerfile: string, result: string): Judged {
  const expected = result.trim().split('\n').map((line) => {
    const match = /^\((\S+?)(?: \[.*?\])?(?: (".*"))?\)$/.exec(line)
    const keyword = (match?.[1] ?? /^\((\S+)/.exec(line)?.[1] ?? line).toUpperCase()
    const strings = [...(match?.[2] ?? '').matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([quoted]) => unquoted(quoted))
    return asText(keyword, strings.length === 1 ? (strings[0] ?? '') : undefined)
  })
  const found = orError(() => readLines(dockerfile).instructions.map(({ keyword, args }) => asText(keyword, args.startsWith('[') && isJson(args) ? undefined : args)))
  const comparable = Array.isArray(found) ? found.map((line, index) => (expected[index]?.includes(' ') === true ? line : (line.split(' ')[0] ?? ''))) : found
  return { name: `parsed: ${name}`, expected, found: comparable }
}

/** Go's `%q`, as far as JSON's strings go, and `\\xNN`. */
function unquoted(text: string): string {
  return String(JSON.parse(text.replace(/\\x([0-9a-f]{2})/g, '\\u00$1').replace(/\\a/g, '\\u0007').replace(/\\v/g, '\\u000b')))
}

const textual = ['RUN', 'USER', 'WORKDIR', 'MAINTAINER', 'STOPSIGNAL']

function asText(keyword: string, text: string | undefined): string {
  return textual.includes(keyword) && text !== undefined ? `${keyword} ${text}` : keyword
}

function isJson(text: string): boolean {
  return orError(() => JSON.parse(text) as unknown) !== 'error'
}

function refused(dockerfile: string): 'error' | 'accepted' {
  return orError(() => planStages(dockerfile, { buildPlatform: 'linux/amd64' })) === 'error' ? 'error' : 'accepted'
}
