/** Whatever a Dockerfile or an ignore file holds: stages or a fault that names a line, in bounded time. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFault } from '#base/fault.ts'
import { ignorePatterns, PathPatterns } from '#base/path-patterns.ts'
import { lint } from './lint.ts'
import { planStages } from './stages.ts'
import { expandWord, WordError } from './words.ts'

/** Reads it as a build does: planned, checked, and every fault told with its place. */
function read(text: string): void {
  try {
    const plan = planStages(text, { buildPlatform: 'linux/amd64' })
    lint({ plan, stages: plan.stages, buildArgs: new Set(), base: () => ({ variables: new Set(['PATH']) }), ignore: undefined })
  } catch (error) {
    assert.ok(isFault(error, 'invalidArgument') && /^Dockerfile:\d+: /.test(error.message), String(error))
    assert.ok(error.message.length < 4096, `a refusal of ${error.message.length} characters`)
  }
}

/** BuildKit's own files, where a clone of it is named; else some of ours. */
function realFiles(): readonly string[] {
  const ours = ['FROM a AS b\nARG X=${Y:-z}\nRUN --mount=type=cache,target=/c,id=$X <<EOF\necho $X\nEOF\nCOPY --from=b --chown=1:2 a b /c/\nENV A=b C="d e"\nHEALTHCHECK --interval=1s CMD x\nONBUILD ADD --checksum=sha256:0 https://h/x /\n']
  const repository = process.env['BUILDKIT']
  if (repository === undefined || !existsSync(repository)) return ours
  const git = (...args: string[]): string => spawnSync('git', ['-C', repository, ...args], { encoding: 'utf8', maxBuffer: 1 << 26 }).stdout
  const names = git('ls-tree', '-r', '--name-only', 'HEAD', 'frontend/dockerfile/parser').split('\n').filter((name) => name.endsWith('/Dockerfile'))
  return [...ours, ...names.map((name) => git('show', `HEAD:${name}`))]
}

const pieces = fc.constantFrom('\\', '\\\n', '"', "'", '$', '${', '}', '<<EOF', '\nEOF\n', '--mount=', 'type=cache', ',', '=', '[', ']', '"]', '#', '# check=', 'FROM ', 'COPY ', 'RUN ', 'ONBUILD ', '\0', '\u00a0', '\r\n', '${a//b/c}', '%', '*', 'ﬀ', '\ud800')

test('mutated files of people are read or refused with their line', () => {
  const mutation = fc.record({ file: fc.constantFrom(...realFiles()), at: fc.double({ min: 0, max: 1, noNaN: true }), cut: fc.nat(40), put: fc.array(fc.oneof(pieces, fc.string({ maxLength: 8 })), { maxLength: 4 }), twice: fc.boolean() })
  fc.assert(fc.property(fc.array(mutation, { minLength: 1, maxLength: 3 }), (mutations) => {
    let text = mutations[0]?.file ?? ''
    for (const { at, cut, put, twice } of mutations) {
      const place = Math.floor(at * text.length)
      text = text.slice(0, place) + put.join('') + (twice ? text.slice(place, place + cut) : '') + text.slice(place + cut)
    }
    read(text)
  }), { numRuns: 400 })
})

test('long and deep files take no longer than their size', () => {
  const size = 20_000
  for (const text of [`FROM a\nRUN ${'\\\n'.repeat(size)}x`, `FROM a\n${'# c\n'.repeat(size)}`, `FROM a\nENV a=${'$'.repeat(size)}`, `FROM a\nENV a=${'${b:-'.repeat(500)}x${'}'.repeat(500)}`, `FROM a\n${'COPY a b\n'.repeat(size / 10)}`, `FROM a\nRUN ${'<<E '.repeat(1000)}\n${'E\n'.repeat(1000)}`, `FROM a\nLABEL ${'a="b" '.repeat(size / 10)}`]) read(text)
})

test('words are expanded or refused, and hostile patterns take no longer', () => {
  fc.assert(fc.property(fc.array(fc.oneof(pieces, fc.string({ maxLength: 6 })), { maxLength: 12 }), (parts) => {
    try {
      expandWord(parts.join(''), { scope: () => 'aaaa/bbbb', escape: '\\' })
    } catch (error) {
      assert.ok(error instanceof WordError, String(error))
    }
  }), { numRuns: 500 })
  for (const form of ['#', '##', '%', '%%', '//']) {
    const value = 'a'.repeat(form === '//' ? 1024 : 10_000)
    expandWord(`\${a${form}${'*a'.repeat(20)}b}`, { scope: () => value, escape: '\\' })
    expandWord(`\${a${form}a${'*a'.repeat(20)}b}`, { scope: () => value, escape: '\\' })
  }
  assert.throws(() => expandWord('${a//*}', { scope: () => 'a'.repeat(2000), escape: '\\' }), WordError)
})

test('ignore files of any text select paths in bounded time', () => {
  const part = fc.oneof(fc.constantFrom('*', '**', '**/', '?', '[', ']', '[^', '!', '\\', '/', '..', '.', '#', '(', '+', '\n', '\r\n', '\uFEFF', ' '), fc.string({ maxLength: 6 }))
  fc.assert(fc.property(fc.array(part, { maxLength: 30 }), fc.array(fc.string({ minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 6 }), (parts, path) => {
    assert.equal(typeof new PathPatterns(ignorePatterns(parts.join(''))).matches(path.join('/')), 'boolean')
  }), { numRuns: 500 })
  const hostile = new PathPatterns(Array.from({ length: 50 }, () => '**/*a*a*a*a*a*a*b'))
  for (let count = 0; count < 20; count += 1) assert.equal(hostile.matches(`${'aaaa/'.repeat(20)}${'a'.repeat(100)}${count}`), false)
})
