/** The linter's findings of one build: when it looks, how they are told, and what is answered to those who ask for nothing else. */
import { Fault, isFault } from '#base/fault.ts'
import type { BuildAnswer, BuildWarning } from '../contract/builds.ts'
import type { ImageResolver } from '../contract/images.ts'
import type { BuildRequest } from '../http/backend.ts'
import type { MainContext } from './contexts.ts'
import { checkAnswer, outlineAnswer, targetsAnswer } from './dockerfile/answers.ts'
import { lint, type BaseFacts } from './dockerfile/lint.ts'
import type { Stage, StagePlan } from './dockerfile/stages.ts'
import { ignoredPaths } from './ignore.ts'

/** Of each stage, as far as they are known. */
export type KnownBases = ReadonlyMap<number, BaseFacts>

export function findings(plan: StagePlan, main: MainContext, { request, stages, bases }: { readonly request: BuildRequest; readonly stages: readonly Stage[]; readonly bases: KnownBases }): readonly BuildWarning[] {
  return lint({ plan, stages, buildArgs: new Set(Object.keys(request.buildArgs)), base: ({ index }) => bases.get(index), ignore: main.ignore === '' ? undefined : ignoredPaths(main.ignore) })
}

/** As BuildKit's clients sum them up. */
export function summary(warnings: readonly BuildWarning[]): string {
  if (warnings.length === 0) return ''
  const lines = warnings.map(({ rule, detail, at }) => ` - ${rule}: ${detail}${at === undefined ? '' : ` (line ${at.firstLine})`}\n`)
  return `\n ${warnings.length} warning${warnings.length === 1 ? '' : 's'} found:\n${lines.join('')}`
}

/** `# check=error=true`: findings fail the build. */
export function refuseFindings(plan: StagePlan, warnings: readonly BuildWarning[]): void {
  if (!plan.lintOptions.error || warnings.length === 0) return
  const [first] = warnings
  const place = first?.at === undefined ? '' : `${first.at.file}:${first.at.firstLine}: `
  throw new Fault('invalidArgument', `${place}lint violation found for rules: ${[...new Set(warnings.map(({ rule }) => rule))].join(', ')}`)
}

/** Answers a call that builds nothing. `plan` reads the Dockerfile, and may refuse it. */
export async function answerOf(request: BuildRequest, main: MainContext, { readPlan, images }: { readonly readPlan: () => StagePlan; readonly images: ImageResolver }): Promise<BuildAnswer> {
  const { dockerfile: text } = main
  if (request.call === 'targets') return targetsAnswer(readPlan(), text)
  if (request.call === 'outline') return outlineAnswer(readPlan(), text, new Map(Object.entries(request.buildArgs)))
  let plan: StagePlan
  try {
    plan = readPlan()
  } catch (error) {
    if (!isFault(error, 'invalidArgument')) throw error
    const line = error.details['line']
    return checkAnswer({ file: request.dockerfile, text, warnings: [], error: { message: error.message, line: typeof line === 'number' ? line : undefined } })
  }
  const bases = await localBases(plan, images)
  return checkAnswer({ file: request.dockerfile, text, warnings: findings(plan, main, { request, stages: request.target === '' ? plan.stages : plan.needed, bases }) })
}

/** From the images that are here: a check fetches none. */
export async function localBases(plan: StagePlan, images: ImageResolver): Promise<KnownBases> {
  const known = new Map<number, BaseFacts>()
  for (const { index, base } of plan.stages) {
    if (base.kind === 'scratch') known.set(index, { variables: new Set(['PATH']) })
    if (base.kind === 'stage') {
      const below = known.get(base.index)
      if (below !== undefined) known.set(index, { variables: new Set([...below.variables, ...declaredIn(plan.stages[base.index])]) })
    }
    if (base.kind !== 'image') continue
    try {
      const { config } = await images.resolve(base.reference)
      known.set(index, { variables: new Set(['PATH', ...(config.config?.Env ?? []).map((each) => each.split('=', 1)[0] ?? '')]), platform: config })
    } catch (error) {
      if (!isFault(error, 'notFound') && !isFault(error, 'invalidArgument')) throw error
    }
  }
  return known
}

function declaredIn(stage: Stage | undefined): readonly string[] {
  return (stage?.instructions ?? []).flatMap((instruction) => (instruction.kind === 'env' ? instruction.pairs.map(({ name }) => name) : instruction.kind === 'arg' ? instruction.args.map(({ name }) => name) : []))
}
