/** What can be wrong with a field, in the words and reasons that kubectl users know (`Required value`, `Invalid value: …`). */
import type { FaultCause } from '#base/fault.ts'
import { Fault } from '#base/fault.ts'
import type { KindIdentity } from './kind.ts'

const suffix = (detail: string): string => (detail === '' ? '' : `: ${detail}`)

/** Values are shown as JSON; long ones are cut. */
function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'null'
  return text.length > 400 ? `${text.slice(0, 400)}…` : text
}

export const required = (field: string, detail = ''): FaultCause => ({ reason: 'FieldValueRequired', field, message: `Required value${suffix(detail)}` })
export const invalid = (field: string, value: unknown, detail: string): FaultCause => ({ reason: 'FieldValueInvalid', field, message: `Invalid value: ${shown(value)}${suffix(detail)}` })
export const forbidden = (field: string, detail: string): FaultCause => ({ reason: 'FieldValueForbidden', field, message: `Forbidden${suffix(detail)}` })
export const duplicate = (field: string, value: unknown): FaultCause => ({ reason: 'FieldValueDuplicate', field, message: `Duplicate value: ${shown(value)}` })
export const notFound = (field: string, value: unknown): FaultCause => ({ reason: 'FieldValueNotFound', field, message: `Not found: ${shown(value)}` })
export const wrongType = (field: string, value: unknown, detail: string): FaultCause => ({ reason: 'FieldValueTypeInvalid', field, message: `Invalid value: ${shown(value)}${suffix(detail)}` })
export const tooLong = (field: string, limit: number): FaultCause => ({ reason: 'FieldValueTooLong', field, message: `Too long: may not be more than ${limit} bytes` })
export const tooMany = (field: string, actual: number, limit: number): FaultCause => ({ reason: 'FieldValueTooMany', field, message: `Too many: ${actual}: must have at most ${limit} items` })
export const notSupported = (field: string, value: unknown, supported: readonly string[]): FaultCause => ({
  reason: 'FieldValueNotSupported',
  field,
  message: `Unsupported value: ${shown(value)}: supported values: ${[...supported].sort().map((word) => JSON.stringify(word)).join(', ')}`,
})

/** The refusal of an object, 422 with one cause per field; `details.kind` is the kind, not the plural. `Pod "web" is invalid: spec.containers[0].image: Required value`. */
export function invalidObject(kind: Pick<KindIdentity, 'group' | 'kind'>, name: string, causes: readonly FaultCause[]): Fault {
  const lines = causes.map((cause) => (cause.field === undefined || cause.field === '' ? cause.message : `${cause.field}: ${cause.message}`))
  const unique = [...new Set(lines)]
  const said = unique.length === 1 ? unique[0] : `[${unique.join(', ')}]`
  const qualified = kind.group === '' ? kind.kind : `${kind.kind}.${kind.group}`
  return new Fault('unprocessable', `${qualified} "${name}" is invalid: ${said}`, { causes, details: { group: kind.group, kind: kind.kind, name } })
}
