/**
 * The kubelet's back-off for restarts and image pulls: 10 s, doubled each time up to 5 min, forgotten after 10 min of peace
 * (Kubernetes, "Pod Lifecycle", container restarts).
 */
import type { BackOff } from './state.ts'

const initialMs = 10_000
const longestMs = 300_000

/** True when so much time lies between the last delay and `eventMs` that it counts no more. */
function forgotten(backOff: BackOff, eventMs: number): boolean {
  return eventMs - backOff.sinceMs > 2 * longestMs
}

/** When to go on after something that happened at `eventMs`; undefined: at once. */
export function holdUntil(backOff: BackOff | undefined, eventMs: number): number | undefined {
  if (backOff === undefined || forgotten(backOff, eventMs)) return undefined
  return eventMs + backOff.delayMs
}

/** The delay that the next failure will meet. */
export function nextBackOff(backOff: BackOff | undefined, eventMs: number, nowMs: number): BackOff {
  if (backOff === undefined || forgotten(backOff, eventMs)) return { delayMs: initialMs, sinceMs: nowMs }
  return { delayMs: Math.min(longestMs, backOff.delayMs * 2), sinceMs: nowMs }
}

/** `1m20s`, as durations stand in messages. */
export function durationText(ms: number): string {
  const seconds = Math.round(ms / 1000)
  const minutes = Math.floor(seconds / 60)
  return minutes === 0 ? `${seconds}s` : `${minutes}m${seconds % 60}s`
}
