/** `berth run --health-…`, `--no-healthcheck` and `--log-…`: docker's flags, and podman's `--health-on-failure`. */
import { ExitError } from '../exit.ts'

export interface HealthFlags {
  readonly healthCmd?: string
  readonly healthInterval?: string
  readonly healthTimeout?: string
  readonly healthStartPeriod?: string
  readonly healthStartInterval?: string
  readonly healthRetries?: string
  readonly healthOnFailure?: string
  /** False: `--no-healthcheck`. */
  readonly healthcheck?: boolean
}

const unitNs: Readonly<Record<string, number>> = { ns: 1, us: 1e3, µs: 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 }

/** `1m30s`, `500ms` → nanoseconds. Throws for what docker would refuse. */
export function parseDurationNs(text: string): number {
  if (text === '0') return 0
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) throw new ExitError(`invalid duration '${text}': expected numbers with units, such as 500ms or 1m30s`, 125)
  return [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)].reduce((sum, [, number, unit]) => sum + Math.round(Number(number) * (unitNs[unit ?? ''] ?? 0)), 0)
}

/** The fields of a creation's body. */
export function healthBody(flags: HealthFlags): { readonly Healthcheck?: object; readonly HealthcheckOnFailureAction?: string } {
  const duration = (name: string, text: string | undefined): object => (text === undefined ? {} : { [name]: parseDurationNs(text) })
  const check = {
    ...(flags.healthcheck === false ? { Test: ['NONE'] } : flags.healthCmd === undefined ? {} : { Test: ['CMD-SHELL', flags.healthCmd] }),
    ...duration('Interval', flags.healthInterval),
    ...duration('Timeout', flags.healthTimeout),
    ...duration('StartPeriod', flags.healthStartPeriod),
    ...duration('StartInterval', flags.healthStartInterval),
    ...(flags.healthRetries === undefined ? {} : { Retries: Number(flags.healthRetries) }),
  }
  if (flags.healthcheck === false && Object.keys(check).length > 1) throw new ExitError('--no-healthcheck conflicts with --health-* options', 125)
  return { ...(Object.keys(check).length === 0 ? {} : { Healthcheck: check }), ...(flags.healthOnFailure === undefined ? {} : { HealthcheckOnFailureAction: flags.healthOnFailure }) }
}

export interface LogFlags {
  readonly logDriver?: string
  readonly logOpt: readonly string[]
}

export function logBody({ logDriver, logOpt }: LogFlags): { readonly Type: string; readonly Config: Readonly<Record<string, string>> } {
  return { Type: logDriver ?? '', Config: Object.fromEntries(logOpt.map((option): [string, string] => [option.split('=', 1)[0] ?? option, option.slice(option.indexOf('=') + 1)])) }
}
