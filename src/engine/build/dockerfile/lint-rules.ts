/** The rules of Docker's build checks: https://docs.docker.com/reference/build-checks/ (BuildKit's `frontend/dockerfile/linter`). */

export interface LintRule {
  readonly description: string
  /** The last part of its address. */
  readonly page: string
  /** Off unless it is asked for. */
  readonly experimental?: true
}

const definition = '`# <arg/stage name> <description>`'

export const lintRules = {
  StageNameCasing: { description: 'Stage names should be lowercase', page: 'stage-name-casing' },
  FromAsCasing: { description: "The 'as' keyword should match the case of the 'from' keyword", page: 'from-as-casing' },
  NoEmptyContinuation: { description: 'Empty continuation lines will become errors in a future release', page: 'no-empty-continuation' },
  ConsistentInstructionCasing: { description: 'All commands within the Dockerfile should use the same casing (either upper or lower)', page: 'consistent-instruction-casing' },
  DuplicateStageName: { description: 'Stage names should be unique', page: 'duplicate-stage-name' },
  ReservedStageName: { description: 'Reserved words should not be used as stage names', page: 'reserved-stage-name' },
  JSONArgsRecommended: { description: 'JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals', page: 'json-args-recommended' },
  MaintainerDeprecated: { description: 'The MAINTAINER instruction is deprecated, use a label instead to define an image author', page: 'maintainer-deprecated' },
  UndefinedArgInFrom: { description: 'FROM command must use declared ARGs', page: 'undefined-arg-in-from' },
  WorkdirRelativePath: { description: 'Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes', page: 'workdir-relative-path' },
  UndefinedVar: { description: 'Variables should be defined before their use', page: 'undefined-var' },
  MultipleInstructionsDisallowed: { description: 'Multiple instructions of the same type should not be used in the same stage', page: 'multiple-instructions-disallowed' },
  LegacyKeyValueFormat: { description: 'Legacy key/value format with whitespace separator should not be used', page: 'legacy-key-value-format' },
  InvalidBaseImagePlatform: { description: 'Base image platform does not match expected target platform', page: '' },
  RedundantTargetPlatform: { description: 'Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior', page: 'redundant-target-platform' },
  SecretsUsedInArgOrEnv: { description: 'Sensitive data should not be used in the ARG or ENV commands', page: 'secrets-used-in-arg-or-env' },
  InvalidDefaultArgInFrom: { description: 'Default value for global ARG results in an empty or invalid base image name', page: 'invalid-default-arg-in-from' },
  FromPlatformFlagConstDisallowed: { description: 'FROM --platform flag should not use a constant value', page: 'from-platform-flag-const-disallowed' },
  CopyIgnoredFile: { description: 'Attempting to Copy file that is excluded by .dockerignore', page: 'copy-ignored-file' },
  InvalidDefinitionDescription: {
    description: `Comment for build stage or argument should follow the format: ${definition}. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.`,
    page: 'invalid-definition-description', experimental: true,
  },
  ExposeProtoCasing: { description: 'Protocol in EXPOSE instruction should be lowercase', page: 'expose-proto-casing' },
  ExposeInvalidFormat: { description: 'IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release', page: 'expose-invalid-format' },
} as const satisfies Readonly<Record<string, LintRule>>

export type LintRuleName = keyof typeof lintRules

/** What `# check=skip=A,B;error=true;experimental=all` asks for. */
export interface LintOptions {
  readonly skip: ReadonlySet<string> | 'all'
  readonly experimental: ReadonlySet<string> | 'all'
  /** Findings fail the build. */
  readonly error: boolean
}

export const noLintOptions: LintOptions = { skip: new Set(), experimental: new Set(), error: false }

/** A RangeError says what is wrong with the text. */
export function parseLintOptions(text: string): LintOptions {
  let options = noLintOptions
  for (const part of text.split(';').map((each) => each.trim())) {
    if (part === '') continue
    const equals = part.indexOf('=')
    const [name, value] = [part.slice(0, Math.max(0, equals)).trim(), part.slice(equals + 1).trim()]
    if (name === 'skip' || name === 'experimental') options = { ...options, [name]: value === 'all' ? 'all' : new Set(value.split(',').map((rule) => rule.trim())) }
    else if (name === 'error' && /^(true|1|false|0)$/.test(value)) options = { ...options, error: value === 'true' || value === '1' }
    else throw new RangeError(`invalid check option '${part}'; expected skip=RULE,…, experimental=RULE,… or error=true`)
  }
  return options
}

/** Both, as an instruction's own comment adds to the file's. */
export function mergedLintOptions(file: LintOptions, own: LintOptions): LintOptions {
  const both = (a: LintOptions['skip'], b: LintOptions['skip']): LintOptions['skip'] => (a === 'all' || b === 'all' ? 'all' : new Set([...a, ...b]))
  return { skip: both(file.skip, own.skip), experimental: both(file.experimental, own.experimental), error: file.error || own.error }
}

export function isRuleOn(rule: LintRuleName, { skip, experimental }: LintOptions): boolean {
  const { experimental: isExperimental }: LintRule = lintRules[rule]
  if (isExperimental === true) return experimental === 'all' || experimental.has(rule)
  return skip !== 'all' && !skip.has(rule)
}
