/** What the Dockerfile front end promises: lines, words, instructions, stages, and refusals that name the line. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isFault } from '#base/fault.ts'
import { parseDuration } from './duration.ts'
import { parseInstruction, type Instruction } from './instructions.ts'
import { readLines } from './lines.ts'
import { planStages, stageDependencies } from './stages.ts'
import { expandWord, expandWords, rawWords, WordError } from './words.ts'

function instructions(text: string): Instruction[] {
  const source = readLines(text)
  return source.instructions.map((each) => parseInstruction(each, source.escape))
}

function refuses(text: string, pattern: RegExp): void {
  assert.throws(() => planStages(text, { buildPlatform: 'linux/amd64' }), (error) => isFault(error, 'invalidArgument') && pattern.test(error.message))
}

test('continuation lines are joined; comments and empty lines between them vanish', () => {
  const source = readLines('FROM a\nRUN echo a \\\n  # a comment\n  && echo b \\\n\n  && echo c\n')
  assert.equal(source.instructions[1]?.args, 'echo a   && echo b   && echo c')
  assert.equal(source.instructions[1]?.line, 2)
  assert.deepEqual(source.emptyContinuations, [{ file: 'Dockerfile', line: 2, lastLine: 6 }])
})

test('an escaped backslash at the end of a line continues nothing', () => {
  assert.deepEqual(readLines('FROM a\nENV C trailing\\\\\nENV D x').instructions.map(({ keyword }) => keyword), ['FROM', 'ENV', 'ENV'])
})

test('the escape directive changes the continuation character, and only before everything else', () => {
  assert.equal(readLines('# escape=`\nFROM a\nRUN dir C:\\`\n x').instructions[1]?.args, 'dir C:\\ x')
  assert.equal(readLines('# hello\n# escape=`\nFROM a\nRUN x `').instructions[1]?.args, 'x `')
  refuses('# escape=x\nFROM a', /^Dockerfile:1: .*expected \\ or `/)
  refuses('# escape=`\n# escape=`\nFROM a', /^Dockerfile:2: .*twice/)
})

test('a byte order mark and Windows line ends are no content', () => {
  assert.deepEqual(readLines('\uFEFFFROM a\r\nRUN b\r\n').instructions.map(({ args }) => args), ['a', 'b'])
})

test('here-documents end at their delimiter, in order, with tabs stripped for <<-', () => {
  const source = readLines("FROM a\nRUN <<-'ONE' 3<<TWO\n\tfirst # kept\n\tONE\nsecond \\\nTWO\nRUN x\n")
  const run = source.instructions[1]
  assert.deepEqual(run?.heredocs.map(({ name, body, expand }) => ({ name, body, expand })), [
    { name: 'ONE', body: 'first # kept\n', expand: false },
    { name: 'TWO', body: 'second \\\n', expand: true },
  ])
  assert.equal(source.instructions[2]?.line, 7)
  assert.deepEqual(readLines('FROM a\nRUN echo "<<EOF"\nRUN echo $((1<<2))').instructions.map(({ heredocs }) => heredocs.length), [0, 0, 0])
  refuses('FROM a\nRUN <<EOF\nx', /^Dockerfile:2: the here-document <<EOF does not end/)
})

test('a here-document of 20,000 lines is read in one pass', () => {
  const body = 'echo hello\n'.repeat(20_000)
  assert.equal(readLines(`FROM a\nRUN <<EOF\n${body}EOF\n`).instructions[1]?.heredocs[0]?.body, body)
})

const variables = new Map([['set', 'value'], ['empty', ''], ['path', '/usr/lib/x.tar.gz'], ['two', 'a b']])
const cases: readonly [string, string][] = [
  ['$set', 'value'], ['${set}', 'value'], ['$unset', ''], ['x${unset}y', 'xy'], ['$set.$set', 'value.value'],
  ['${unset:-other}', 'other'], ['${empty:-other}', 'other'], ['${empty-other}', ''], ['${unset-other}', 'other'],
  ['${set:+other}', 'other'], ['${empty:+other}', ''], ['${empty+other}', 'other'], ['${unset+other}', ''],
  ['${unset:-$set}', 'value'], ['${unset:-${set}x}', 'valuex'], ['${set:?needed}', 'value'],
  ['\\$set', '$set'], ["'$set'", '$set'], ['"$set"', 'value'], ['"\\$set"', '$set'], ['a\\ b', 'a b'], ['"a\\b"', 'a\\b'],
  ['$', '$'], ['$$', ''], ['a$', 'a$'], ['$.', '$.'], ['$1x', 'x'], ['$12x', 'x'], ['${12:-y}', 'y'], ['a\\', 'a'], ["it's'", 'its'],
  ['${path#*/}', 'usr/lib/x.tar.gz'], ['${path##*/}', 'x.tar.gz'], ['${path%.*}', '/usr/lib/x.tar'], ['${path%%.*}', '/usr/lib/x'],
  ['${path/usr/opt}', '/opt/lib/x.tar.gz'], ['${path//\\//-}', '-usr-lib-x.tar.gz'], ['${set/?/X}', 'Xalue'],
]
for (const [word, expected] of cases) {
  test(`the word ${word} becomes ${JSON.stringify(expected)}`, () => {
    assert.equal(expandWord(word, { scope: (name) => variables.get(name), escape: '\\' }), expected)
  })
}

test('words split at white space that is neither quoted nor escaped', () => {
  const syntax = { scope: (name: string) => variables.get(name), escape: '\\' } as const
  assert.deepEqual(expandWords(`a  "b c" d\\ e '' $two "$two"`, syntax), ['a', 'b c', 'd e', '', 'a', 'b', 'a b'])
})

test('words that cannot be read are refused', () => {
  for (const word of ["'a", '"a', '${a', '${}', '${a:x}', '${a!b}', '${unset:?needed}']) {
    assert.throws(() => expandWord(word, { scope: () => undefined, escape: '\\' }), WordError, word)
  }
})

test('quoting any text and expanding it gives the text back', () => {
  fc.assert(fc.property(fc.string(), (text) => {
    const quoted = `"${text.replace(/[\\"$]/g, '\\$&')}"`
    assert.equal(expandWord(quoted, { scope: () => undefined, escape: '\\' }), text)
    if (rawWords(quoted, '\\') !== undefined) assert.deepEqual(rawWords(`a ${quoted} b`, '\\')?.length, 3)
  }))
})

test('the front end answers any text with stages or with a fault that names a line', () => {
  const line = fc.oneof(fc.string(), fc.constantFrom('FROM a', 'RUN <<EOF', 'EOF', 'ENV a=$b', 'COPY --from=0 a b', 'ARG x=${y:-z}', 'CMD ["a"', 'ONBUILD RUN x', 'x \\', '# c'))
  fc.assert(fc.property(fc.array(line), (lines) => {
    try {
      assert.ok(planStages(lines.join('\n'), { buildPlatform: 'linux/amd64' }).stages.length > 0)
    } catch (error) {
      assert.ok(isFault(error, 'invalidArgument') && /^Dockerfile:\d+: /.test(error.message), String(error))
    }
  }), { numRuns: 300 })
})

test('instructions are parsed once into typed values', () => {
  const parsed = instructions(
    'FROM --platform=linux/amd64 a:1 AS Build\nENV A=1 B="x y"\nENV OLD the rest\nLABEL "a b"=c\nCMD ["a", "b"]\nENTRYPOINT run me\n' +
      'COPY --from=x --chown=1:2 a b /d/\nEXPOSE 80 53/udp\nVOLUME ["/v", "/w"]\nSHELL ["/bin/bash", "-c"]\nHEALTHCHECK --interval=1m30s --retries=3 CMD true\nHEALTHCHECK NONE\nONBUILD COPY . /app\nARG X Y=1\n',
  ).map(({ file, line, original, written, lastLine, comments, ...rest }) => rest)
  assert.deepEqual(parsed[0], { kind: 'from', image: 'a:1', name: 'build', writtenName: 'Build', writtenAs: 'AS', platform: 'linux/amd64' })
  assert.deepEqual(parsed[1], { kind: 'env', pairs: [{ name: 'A', value: '1' }, { name: 'B', value: '"x y"' }], isLegacy: false })
  assert.deepEqual(parsed[2], { kind: 'env', pairs: [{ name: 'OLD', value: 'the rest' }], isLegacy: true })
  assert.deepEqual(parsed[4], { kind: 'cmd', command: { form: 'exec', argv: ['a', 'b'] } })
  assert.deepEqual(parsed[5], { kind: 'entrypoint', command: { form: 'shell', line: 'run me' } })
  const copy = parsed[6]
  assert.ok(copy?.kind === 'copy' && copy.from === 'x' && copy.chown === '1:2' && copy.destination === '/d/' && copy.sources.length === 2)
  const check = parsed[10]
  assert.ok(check?.kind === 'healthcheck' && check.check.intervalNs === 90e9 && check.check.retries === 3)
  assert.deepEqual(parsed[12], { kind: 'onbuild', trigger: 'COPY . /app' })
  assert.deepEqual(parsed[13], { kind: 'arg', args: [{ name: 'X' }, { name: 'Y', value: '1' }] })
})

test('COPY takes here-documents as files', () => {
  const copy = instructions('FROM a\nCOPY <<one.txt <<"two" real /d/\n1\none.txt\n2\ntwo\n')[1]
  assert.ok(copy?.kind === 'copy')
  assert.deepEqual(copy.sources, ['real'])
  assert.deepEqual(copy.heredocs.map(({ name, body }) => [name, body]), [['one.txt', '1\n'], ['two', '2\n']])
})

test('durations are read as Go writes them', () => {
  assert.equal(parseDuration('1m30s'), 90e9)
  assert.equal(parseDuration('1.5ms'), 1_500_000)
  assert.equal(parseDuration('30'), undefined)
})

test('a refusal names the file and line and says what was expected', () => {
  refuses('FROM a\n\nRNU x', /^Dockerfile:3: unknown instruction: RNU; did you mean RUN\?$/)
  refuses('FROM a\nCOPY a', /^Dockerfile:2: COPY requires at least two arguments; expected COPY SOURCE/)
  refuses('FROM a\nCOPY --form=x a b', /^Dockerfile:2: unknown flag: --form; did you mean --from\?/)
  refuses('FROM a\nENV', /^Dockerfile:2: ENV has no argument/)
  refuses('FROM a\nENV a=b c', /^Dockerfile:2: can't find = in 'c'/)
  refuses('FROM a\nHEALTHCHECK --interval=5 CMD x', /^Dockerfile:2: .*--interval=5 is no duration/)
  refuses('FROM a\nSHELL bash', /^Dockerfile:2: .*JSON array/)
  refuses('FROM a\nONBUILD FROM b', /^Dockerfile:2: FROM isn't allowed as an ONBUILD trigger/)
  refuses('FROM a b', /^Dockerfile:1: .*expected FROM/)
  refuses('RUN x\nFROM a', /^Dockerfile:1: no build stage/)
  refuses('', /^Dockerfile:1: the file has no instructions/)
  refuses('FROM $X', /^Dockerfile:1: base name \(\$X\) should not be blank/)
  refuses('FROM a\nCOPY --from=3 a b', /^Dockerfile:2: invalid from flag value 3/)
})

test('a stage name that stands twice means the later stage', () => {
  assert.deepEqual(planStages('FROM a AS x\nFROM b AS x\nFROM x', { buildPlatform: 'linux/amd64' }).needed.map(({ index }) => index), [1, 2])
})

test('only what the target needs is planned, and ARGs before FROM reach FROM alone', () => {
  const text = 'ARG V=1\nARG IMG=base:$V\nFROM $IMG AS a\nFROM scratch AS unused\nFROM a AS b\nFROM other\nCOPY --from=b /x /x\nCOPY --from=busybox:1 /y /y\nRUN --mount=type=bind,from=0,target=/m true\n'
  const plan = planStages(text, { buildPlatform: 'linux/amd64', buildArgs: new Map([['V', '2']]) })
  assert.deepEqual(plan.needed.map(({ index }) => index), [0, 2, 3])
  assert.deepEqual(plan.stages[0]?.base, { kind: 'image', reference: 'base:2' })
  assert.deepEqual(plan.stages[2]?.base, { kind: 'stage', index: 0 })
  assert.deepEqual(stageDependencies(plan.target, plan.stages), [2, 0])
  assert.deepEqual(planStages(text, { buildPlatform: 'linux/amd64', target: 'A' }).needed.map(({ index }) => index), [0])
  assert.throws(() => planStages(text, { buildPlatform: 'linux/amd64', target: 'unsed' }), /did you mean unused\?/)
  assert.throws(() => planStages(text, { buildPlatform: 'linux/amd64', target: '0' }), /failed to reach build target 0/)
})
