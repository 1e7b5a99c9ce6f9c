/** The name a pod template goes by: a hash that labels its ReplicaSet and pods, so that two templates never share pods. */
import { sameJson } from '#schema/json.ts'
import type { PodTemplateSpec } from '../../api/core/v1/pod-template.ts'
import { templateHashLabel } from './annotations.ts'

/** No vowels and nothing that looks alike, as for generated names. */
const alphabet = 'bcdfghjklmnpqrstvwxz2456789'

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined)
  return `{${entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, inner]) => `${JSON.stringify(name)}:${canonical(inner)}`).join(',')}}`
}

/** FNV-1a over the template with its keys in order; `collisions` tells two templates of one hash apart. */
export function templateHash(template: PodTemplateSpec, collisions: number): string {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(`${canonical(template)}${collisions === 0 ? '' : collisions}`)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0
  return Array.from(String(hash), (digit) => alphabet[digit.charCodeAt(0) % alphabet.length]).join('')
}

/** Equal but for the label that carries the hash. */
export function sameTemplate(a: PodTemplateSpec, b: PodTemplateSpec): boolean {
  return sameJson(withoutHash(a), withoutHash(b))
}

function withoutHash(template: PodTemplateSpec): PodTemplateSpec {
  const { [templateHashLabel]: _hash, ...labels } = template.metadata.labels ?? {}
  return { ...template, metadata: { ...template.metadata, labels: Object.keys(labels).length === 0 ? undefined : labels } }
}
