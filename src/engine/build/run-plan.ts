/** The stages of one build, side by side, and what is told of them when they have ended. */
import { Fault } from '#base/fault.ts'
import type { BuildRequest } from '../http/backend.ts'
import { findings, summary, type KnownBases } from './build-checks.ts'
import type { BuildShared } from './build-shared.ts'
import type { BaseFacts } from './dockerfile/lint.ts'
import type { Stage, StagePlan } from './dockerfile/stages.ts'
import { OrderedOutput } from './ordered-output.ts'
import { StageRun } from './stage-run.ts'
import { predefinedArgs, type StageState } from './stage-state.ts'

/**
 * Runs the needed stages of all platforms; the first failure stops the others, and all have ended when it is told. Answers the states of
 * the platforms' targets.
 */
export async function runPlans(platforms: readonly BuildShared[], failed: AbortController): Promise<readonly StageState[]> {
  const [first] = platforms
  if (first === undefined) throw new Fault('internal', 'a build is for one platform at least')
  const output = new OrderedOutput(first.request.onMessage)
  const running = platforms.map((shared) => startPlan(shared, output))
  let firstError: unknown
  const settled = running.flatMap(({ results }) => [...results.values()]).map((result) =>
    result.catch((error: unknown) => {
      firstError ??= error
      failed.abort(new Fault('canceled', 'another stage of the build failed'))
    }),
  )
  await Promise.all(settled)
  // What is odd about the file is odd for every platform.
  tellFindings(first, running[0]?.bases ?? new Map())
  if (firstError !== undefined) throw firstError
  const states = await Promise.all(platforms.map(({ plan }, index) => running[index]?.results.get(plan.target.index) ?? Promise.reject(new Fault('internal', 'the target was not built'))))
  warnUnusedArgs(first.request, first.plan)
  return states
}

interface RunningPlan {
  readonly results: ReadonlyMap<number, Promise<StageState>>
  /** Of the stages whose base is known. */
  readonly bases: KnownBases
}

function startPlan(shared: BuildShared, output: OrderedOutput): RunningPlan {
  const { plan } = shared
  const results = new Map<number, Promise<StageState>>()
  const bases = new Map<number, BaseFacts>()
  const start = (stage: Stage, firstStep: number): void => {
    const run = new StageRun({
      shared, stage, firstStep, channel: output.channel(), totalSteps: countSteps(plan.needed),
      stageResult: (index) => results.get(index) ?? Promise.reject(new Fault('internal', `stage ${index} was not planned`)),
      onBase: (facts) => void bases.set(stage.index, facts),
    })
    // Stages begin in the next turn, when all of them are known to each other.
    results.set(stage.index, Promise.resolve().then(() => run.run()))
  }
  plan.needed.reduce((step, stage) => {
    start(stage, step)
    return step + 1 + stage.instructions.length
  }, 1)
  return { results, bases }
}

function countSteps(stages: readonly Stage[]): number {
  return stages.reduce((sum, { instructions }) => sum + 1 + instructions.length, 0)
}

/** When all bases are known: some rules need to know them. */
function tellFindings({ plan, main, request, vertices }: BuildShared, bases: KnownBases): void {
  const warnings = findings(plan, main, { request, stages: plan.needed, bases })
  if (warnings.length === 0) return
  const vertex = vertices.begin(`[internal] check ${request.dockerfile}`)
  for (const warning of warnings) vertex.warn(warning)
  vertex.end()
  request.onMessage({ kind: 'stream', text: summary(warnings) })
}

function warnUnusedArgs(request: BuildRequest, plan: StagePlan): void {
  const declared = new Set([...predefinedArgs, ...plan.globalArgs.keys(), 'SOURCE_DATE_EPOCH'])
  for (const stage of plan.stages) {
    for (const instruction of stage.instructions) {
      if (instruction.kind === 'arg') for (const { name } of instruction.args) declared.add(name)
    }
  }
  const unused = Object.keys(request.buildArgs).filter((name) => !declared.has(name) && !name.startsWith('BUILDKIT_'))
  if (unused.length > 0) request.onMessage({ kind: 'stream', text: `[Warning] One or more build-args [${unused.join(' ')}] were not consumed\n` })
}
