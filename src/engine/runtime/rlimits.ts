/**
 * Resource limits (setrlimit(2)) that can be given: without CAP_SYS_RESOURCE a limit above our own hard one is refused, and
 * the runtime would refuse the whole container.
 */
import type { ProcessSpec } from '../contract/runtime-spec.ts'

export interface RlimitRules {
  /** Our own hard limit of open files. */
  readonly openFilesHardLimit: bigint
  /** Whether limits may be raised above our own. */
  readonly mayRaise: boolean
}

type Rlimits = ProcessSpec['rlimits']

/** The limits with `RLIMIT_NOFILE` clamped; the same object when nothing had to be. */
export function clampRlimits(limits: Rlimits, rules: RlimitRules): Rlimits {
  if (rules.mayRaise || limits === undefined) return limits
  const most = Number(rules.openFilesHardLimit)
  const fits = (limit: { readonly type: string; readonly hard: number }): boolean => limit.type !== 'RLIMIT_NOFILE' || limit.hard <= most
  if (limits.every(fits)) return limits
  return limits.map((limit) => (fits(limit) ? limit : { ...limit, hard: most, soft: Math.min(limit.soft, most) }))
}

/** `value` where it can be given: without CAP_SYS_RESOURCE nobody gets a lower score than we have ourselves (proc_pid_oom_score_adj(5)). */
export function clampOomScore(value: number | undefined, rules: { readonly own: number; readonly mayRaise: boolean }): number | undefined {
  return value === undefined || rules.mayRaise ? value : Math.max(value, rules.own)
}
