/** Words of exporters' attributes (moby/buildkit `exporter/containerimage/opts.go`). */
import { Fault } from '#base/fault.ts'

/** What clients say by names: attributes of a frontend or of an exporter. */
export type Attributes = ReadonlyMap<string, string>

/** Go's words for a truth value; said without one it is true, as in Docker. */
export function isTrue(attributes: Attributes, name: string, fallback = false): boolean {
  const text = attributes.get(name)
  if (text === undefined) return fallback
  if (text === '' || /^(1|t|true)$/i.test(text)) return true
  if (/^(0|f|false)$/i.test(text)) return false
  throw new Fault('invalidArgument', `non-bool value specified for ${name}: ${text}`)
}
