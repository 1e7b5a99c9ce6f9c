/** What the linter finds, what switches it off, and what calls that build nothing are answered. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PathPatterns } from '#base/path-patterns.ts'
import { isFault } from '#base/fault.ts'
import { checkAnswer, excerpt, outlineAnswer, targetsAnswer } from './answers.ts'
import { lint } from './lint.ts'
import { planStages } from './stages.ts'

function found(text: string, { ignore = '', known = ['PATH'], target }: { readonly ignore?: string; readonly known?: readonly string[]; readonly target?: string } = {}): string[] {
  const plan = planStages(text, { buildPlatform: 'linux/amd64', ...(target === undefined ? {} : { target }) })
  const warnings = lint({ plan, stages: plan.needed, buildArgs: new Set(), base: () => ({ variables: new Set(known) }), ignore: new PathPatterns(ignore.split('\n')) })
  return warnings.map(({ rule, detail, at }) => `${rule} ${at?.firstLine ?? 0}: ${detail}`)
}

const cases: readonly (readonly [text: string, warnings: readonly string[], options?: Parameters<typeof found>[1]])[] = [
  ['FROM a AS Build', ["StageNameCasing 1: Stage name 'Build' should be lowercase"]],
  ['FROM a as b', ["FromAsCasing 1: 'as' and 'FROM' keywords' casing do not match"]],
  ['from a as b', []],
  ['FROM a\nRUN x \\\n\n  y', ['NoEmptyContinuation 2: Empty continuation line']],
  ['FROM a\nrun x\nENV y=z', ["ConsistentInstructionCasing 2: Command 'run' should match the case of the command majority (uppercase)"]],
  ['FROM a AS b\nFROM a AS b', ['DuplicateStageName 2: Duplicate stage name "b", stage names should be unique']],
  ['FROM a AS scratch', ['ReservedStageName 1: Stage name should not use the same name as reserved stage "scratch"']],
  ['FROM a\nCMD run me', ['JSONArgsRecommended 2: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals']],
  ['FROM a\nSHELL ["/bin/bash", "-c"]\nCMD run me', []],
  ['FROM a\nMAINTAINER me', ['MaintainerDeprecated 2: Maintainer instruction is deprecated in favor of using label']],
  ['ARG IMAGE=a\nFROM $IMGE${IMAGE}', ["UndefinedArgInFrom 2: FROM argument 'IMGE' is not declared (did you mean IMAGE?)"]],
  ['FROM a\nWORKDIR app\nWORKDIR lib', ['WorkdirRelativePath 2: Relative workdir "app" can have unexpected results if the base image changes']],
  ['FROM a\nWORKDIR /app\nWORKDIR lib', []],
  ['FROM a\nARG foo\nCOPY $fo $PATH .', ["UndefinedVar 3: Usage of undefined variable '$fo' (did you mean $foo?)"]],
  ['FROM a\nCMD ["x"]\nCMD ["y"]', ['MultipleInstructionsDisallowed 2: Multiple CMD instructions should not be used in the same stage because only the last one will be used']],
  ['FROM a\nENV a b', ['LegacyKeyValueFormat 2: "ENV key=value" should be used instead of legacy "ENV key value" format']],
  ['FROM --platform=$TARGETPLATFORM a', ['RedundantTargetPlatform 1: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior']],
  ['FROM a\nARG AWS_SECRET\nENV PUBLIC_KEY=x', ['SecretsUsedInArgOrEnv 2: Do not use ARG or ENV instructions for sensitive data (ARG "AWS_SECRET")']],
  ['ARG V\nFROM a:${V:-}x AS b', []],
  ['ARG V=\nARG W=x\nFROM a:$V$W', []],
  // As in BuildKit, which looks at the name alone here.
  ['FROM a AS base\nFROM Base', ['InvalidDefaultArgInFrom 2: Default value for ARG Base results in empty or invalid base image name']],
  ['FROM --platform=linux/arm64 a AS b', ['FromPlatformFlagConstDisallowed 1: FROM --platform flag should not use constant value "linux/arm64"']],
  ['FROM --platform=linux/arm64 a AS b-arm64', []],
  ['FROM a\nCOPY ./tmp/x /\nADD https://h/tmp/ /', ['CopyIgnoredFile 2: Attempting to Copy file "tmp/x" that is excluded by .dockerignore'], { ignore: 'tmp/' }],
  ['# check=experimental=all\n# wrong\nFROM a AS b', ['InvalidDefinitionDescription 3: Comment for FROM should follow the format: `# b <description>`']],
  ['FROM a\nEXPOSE 80/TCP 127.0.0.1:80:80', ["ExposeProtoCasing 2: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase", "ExposeInvalidFormat 2: EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:80'"]],
  ['# check=skip=MaintainerDeprecated\nFROM a\nMAINTAINER me\nCMD x', ['JSONArgsRecommended 4: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals']],
  ['# check=skip=all\nFROM a AS Build\nMAINTAINER me', []],
  ['FROM a\n# check=skip=JSONArgsRecommended\nCMD x', []],
]
for (const [text, warnings, options] of cases) {
  test(`lint of ${JSON.stringify(text)}`, () => assert.deepEqual(found(text, options), warnings))
}

test('an ARG without a default that an image needs is told', () => {
  const plan = planStages('ARG V\nFROM a:${V}', { buildPlatform: 'linux/amd64', buildArgs: new Map([['V', '1']]) })
  const warnings = lint({ plan, stages: plan.needed, buildArgs: new Set(['V']), base: () => undefined, ignore: undefined })
  assert.deepEqual(warnings.map(({ rule, detail }) => `${rule}: ${detail}`), ['InvalidDefaultArgInFrom: Default value for ARG a:${V} results in empty or invalid base image name'])
})

test('a base image that is made for another platform is told', () => {
  const details = (text: string): readonly string[] => {
    const plan = planStages(text, { buildPlatform: 'linux/amd64' })
    return lint({ plan, stages: plan.needed, buildArgs: new Set(), base: () => ({ variables: new Set(), platform: { os: 'linux', architecture: 'arm64' } }), ignore: undefined }).map(({ rule, detail }) => `${rule}: ${detail}`)
  }
  assert.deepEqual(details('FROM a'), ['InvalidBaseImagePlatform: Base image a was pulled with platform "linux/arm64", expected "linux/amd64" for current build'])
  assert.deepEqual(details('FROM --platform=linux/arm64 a AS arm64'), [])
  assert.deepEqual(details('FROM scratch'), [])
})

test('options that are none are refused with the line', () => {
  assert.throws(() => planStages('# check=skp=all\nFROM a', { buildPlatform: 'linux/amd64' }), (error) => isFault(error, 'invalidArgument') && /^Dockerfile:1: invalid check option 'skp=all'/.test(error.message))
})

test('answers are in the form of BuildKit\'s subrequests', () => {
  const text = '# IMG the base\nARG IMG=a\nFROM $IMG AS base\n# fast what is built\nFROM base AS fast\n# V version\nARG V=1\nRUN --mount=type=secret,id=key,required --mount=type=ssh true\n'
  const plan = planStages(text, { buildPlatform: 'linux/amd64' })
  assert.equal(targetsAnswer(plan, text).text, 'TARGET         DESCRIPTION\nbase           \nfast (default) what is built\n')
  assert.equal(outlineAnswer(plan, text, new Map([['V', '2']])).text, 'TARGET:      fast\nDESCRIPTION: what is built\n\nBUILD ARG   VALUE   DESCRIPTION\nIMG         a       the base\nV           2       version\n\nSECRET   REQUIRED\nkey      true\n\nSSH       REQUIRED\ndefault   \n\n')
  const warned = checkAnswer({ file: 'Dockerfile', text: 'FROM a\nCMD x\n', warnings: [{ rule: 'R', description: 'd', url: 'u', detail: 'why', at: { file: 'Dockerfile', firstLine: 2, lastLine: 2 } }] })
  assert.deepEqual([warned.exitCode, warned.text], [1, `\nWARNING: R - u\nwhy\n${excerpt('Dockerfile', 'FROM a\nCMD x\n', [2, 2])}`])
  assert.match(excerpt('Dockerfile', 'FROM a\nCMD x\n', [2, 2]), / {3}2 \| >>> CMD x\n/)
})
