/**
 * Validation of a defaulted object: every field by its shape, the rules inside objects, metadata, then the rules of the
 * kind. Causes carry paths such as `spec.containers[0].image` and the words of upstream; `invalidObject` (cause.ts) makes
 * the 422 of them. The rules of what may change stand in `changes.ts`.
 */
import type { FaultCause } from '#base/fault.ts'
import { duplicate, forbidden, invalid, notSupported, required, tooLong, tooMany, wrongType } from './cause.ts'
import type { FieldFacts, IntegerShape, ListShape, ObjectShape, Shape, StringShape } from './field.ts'
import type { Json, JsonObject } from './json.ts'
import { isJsonArray, isJsonObject, sameJson, textOf } from './json.ts'
import type { AnyKind, NameFormat } from './kind.ts'
import { parseQuantity } from './quantity.ts'
import { formatProblem, pathSegmentProblem } from './text-formats.ts'
import { parseTime } from './time-text.ts'

/** Everything wrong with a defaulted object; empty when it may be stored. */
export function violations(kind: AnyKind, object: object): readonly FaultCause[] {
  const value = object as JsonObject
  const causes = [...metadataViolations(kind, value), ...shapeViolations(kind.schema.facts.shape, value, '', false)]
  // Rules of the kind rely on the shape: on what is required being there, and on the types.
  const shapely = causes.every(({ reason }) => reason !== 'FieldValueTypeInvalid' && reason !== 'FieldValueRequired')
  if (shapely) causes.push(...(kind.validate?.(value) ?? []))
  return withoutRepeats(causes)
}

function withoutRepeats(causes: readonly FaultCause[]): readonly FaultCause[] {
  const seen = new Set<string>()
  return causes.filter(({ field, message }) => {
    const key = `${field} ${message}`
    if (seen.has(key)) return false
    seen.add(key)
    return true
  })
}

/** Violations of one value by its shape alone. `reported` is true below status-like objects, where nothing is required. */
function shapeViolations(shape: Shape, value: Json, path: string, reported: boolean): FaultCause[] {
  switch (shape.type) {
    case 'string':
      return typeof value === 'string' ? stringViolations(shape, value, path) : [wrongType(path, value, 'must be a string')]
    case 'integer':
      return integerViolations(shape, value, path)
    case 'boolean':
      return typeof value === 'boolean' ? [] : [wrongType(path, value, 'must be true or false')]
    case 'bytes':
      return typeof value === 'string' && isBase64(value) ? [] : [invalid(path, '<value omitted>', 'must be base64')]
    case 'quantity':
      return parseQuantity(textOf(value)) !== undefined ? [] : [wrongType(path, value, 'must be a quantity such as 100m, 2 or 512Mi')]
    case 'intOrString':
      return typeof value === 'string' || Number.isInteger(value) ? [] : [wrongType(path, value, 'must be an integer or a string')]
    case 'time':
      return typeof value === 'string' && parseTime(value) !== undefined ? [] : [invalid(path, value, 'must be an RFC 3339 time such as 2026-01-02T15:04:05Z')]
    case 'raw':
      return isJsonObject(value) ? [] : [wrongType(path, value, 'must be an object')]
    case 'object':
      return isJsonObject(value) ? objectViolations(shape, value, path, reported || shape.reported) : [wrongType(path, value, 'must be an object')]
    case 'list':
      return isJsonArray(value) ? listViolations(shape, value, path, reported) : [wrongType(path, value, 'must be an array')]
    case 'map': {
      if (!isJsonObject(value)) return [wrongType(path, value, 'must be an object')]
      const { keyFormat, of } = shape
      return Object.entries(value).flatMap(([key, item]) => {
        const problem = keyFormat === undefined ? undefined : formatProblem(keyFormat, key)
        return [...(problem === undefined ? [] : [invalid(`${path}[${key}]`, key, problem)]), ...shapeViolations(of.facts.shape, item ?? null, `${path}[${key}]`, reported)]
      })
    }
  }
}

const join = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`)

function objectViolations(shape: ObjectShape, value: JsonObject, path: string, reported: boolean): FaultCause[] {
  const causes: FaultCause[] = []
  for (const [name, field] of shape.entries) {
    const inner = value[name]
    if (path === '' && name === 'metadata') continue
    const missing = isMissing(field.facts, inner)
    if (missing && field.facts.presence === 'required' && !reported) causes.push(required(join(path, name)))
    else if (inner !== undefined && !(missing && reported)) causes.push(...shapeViolations(field.facts.shape, inner, join(path, name), reported))
  }
  if (shape.check !== undefined) causes.push(...shape.check(value, path))
  return causes
}

/** The values that count as not given where something is required. */
function isMissing(facts: FieldFacts, value: Json | undefined): boolean {
  if (value === undefined || value === null || value === '') return true
  return facts.shape.type === 'list' && isJsonArray(value) && value.length === 0
}

function stringViolations(shape: StringShape, value: string, path: string): FaultCause[] {
  if (shape.values !== undefined && !shape.values.includes(value)) return [notSupported(path, value, shape.values)]
  if (shape.maxLength !== undefined && Buffer.byteLength(value) > shape.maxLength) return [tooLong(path, shape.maxLength)]
  if (shape.minLength !== undefined && value.length < shape.minLength) return [required(path)]
  const problem = shape.format === undefined ? undefined : formatProblem(shape.format, value)
  return problem === undefined ? [] : [invalid(path, value, problem)]
}

function integerViolations({ bits, min, max }: IntegerShape, value: Json, path: string): FaultCause[] {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) return [wrongType(path, value, 'must be an integer')]
  if (bits === 32 && (value > 2 ** 31 - 1 || value < -(2 ** 31))) return [invalid(path, value, 'must fit into 32 bits')]
  const below = min !== undefined && value < min
  const above = max !== undefined && value > max
  if (!below && !above) return []
  if (min !== undefined && max !== undefined) return [invalid(path, value, `must be between ${min} and ${max}, inclusive`)]
  return [invalid(path, value, below ? (min === 0 ? 'must be greater than or equal to 0' : `must be greater than or equal to ${min}`) : `must be less than or equal to ${max}`)]
}

function listViolations(shape: ListShape, value: readonly Json[], path: string, reported: boolean): FaultCause[] {
  const causes = value.flatMap((item, index) => shapeViolations(shape.of.facts.shape, item, `${path}[${index}]`, reported))
  if (shape.maxItems !== undefined && value.length > shape.maxItems) causes.push(tooMany(path, value.length, shape.maxItems))
  if (shape.merge === 'set') {
    value.forEach((item, index) => {
      if (value.findIndex((other) => sameJson(other, item)) < index) causes.push(duplicate(`${path}[${index}]`, item))
    })
  }
  return causes
}

const base64Pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
/** Go's decoder skips line breaks. */
function isBase64(value: string): boolean {
  return base64Pattern.test(/[\r\n]/.test(value) ? value.replace(/[\r\n]/g, '') : value)
}

const annotationsLimitBytes = 256 * 1024

function nameProblem(format: NameFormat, name: string): string | undefined {
  return format === 'pathSegment' ? pathSegmentProblem(name) : formatProblem(format, name)
}

/** Metadata rules that hold for every kind. */
function metadataViolations(kind: Pick<AnyKind, 'nameFormat' | 'namespaced'>, object: JsonObject): FaultCause[] {
  const metadata = object['metadata']
  if (!isJsonObject(metadata)) return [required('metadata')]
  const causes: FaultCause[] = []
  const { name, namespace, generateName } = metadata
  if (typeof name !== 'string' || name === '') causes.push(required('metadata.name', 'name or generateName is required'))
  else {
    const problem = nameProblem(kind.nameFormat, name)
    if (problem !== undefined) causes.push(invalid('metadata.name', name, problem))
  }
  if (typeof generateName === 'string' && nameProblem(kind.nameFormat, `${generateName}a`) !== undefined) {
    causes.push(invalid('metadata.generateName', generateName, nameProblem(kind.nameFormat, `${generateName}a`) ?? ''))
  }
  causes.push(...namespaceViolations(kind.namespaced, namespace))
  causes.push(...labelViolations(metadata['labels'], 'metadata.labels'), ...annotationViolations(metadata['annotations'], 'metadata.annotations'))
  causes.push(...ownerViolations(metadata['ownerReferences']), ...finalizerViolations(metadata['finalizers']))
  return causes
}

function namespaceViolations(namespaced: boolean, namespace: Json | undefined): FaultCause[] {
  if (!namespaced) return namespace === undefined || namespace === '' ? [] : [forbidden('metadata.namespace', 'not allowed on this type')]
  if (typeof namespace !== 'string' || namespace === '') return [required('metadata.namespace')]
  const problem = formatProblem('dnsLabel', namespace)
  return problem === undefined ? [] : [invalid('metadata.namespace', namespace, problem)]
}

/** Syntax of labels; also for pod templates. */
export function labelViolations(labels: Json | undefined, path: string): FaultCause[] {
  if (!isJsonObject(labels)) return labels === undefined ? [] : [wrongType(path, labels, 'must be an object')]
  return Object.entries(labels).flatMap(([key, value]) => {
    const keyProblem = formatProblem('labelKey', key)
    const valueProblem = typeof value === 'string' ? formatProblem('labelValue', value) : 'must be a string'
    return [...(keyProblem === undefined ? [] : [invalid(path, key, keyProblem)]), ...(valueProblem === undefined ? [] : [invalid(path, value, valueProblem)])]
  })
}

/** Syntax and size of annotations; also for pod templates. */
export function annotationViolations(annotations: Json | undefined, path: string): FaultCause[] {
  if (!isJsonObject(annotations)) return annotations === undefined ? [] : [wrongType(path, annotations, 'must be an object')]
  let bytes = 0
  const causes: FaultCause[] = []
  for (const [key, value] of Object.entries(annotations)) {
    const problem = formatProblem('qualifiedName', key.toLowerCase())
    if (problem !== undefined) causes.push(invalid(path, key, problem))
    if (typeof value !== 'string') causes.push(wrongType(`${path}[${key}]`, value, 'must be a string'))
    else bytes += Buffer.byteLength(key) + Buffer.byteLength(value)
  }
  if (bytes > annotationsLimitBytes) causes.push(tooLong(path, annotationsLimitBytes))
  return causes
}

function ownerViolations(owners: Json | undefined): FaultCause[] {
  if (!isJsonArray(owners)) return []
  const causes = owners.flatMap((owner, index) => {
    const at = `metadata.ownerReferences[${index}]`
    if (!isJsonObject(owner)) return [wrongType(at, owner, 'must be an object')]
    return ['apiVersion', 'kind', 'name', 'uid'].filter((key) => typeof owner[key] !== 'string' || owner[key] === '').map((key) => required(`${at}.${key}`))
  })
  if (owners.filter((owner) => isJsonObject(owner) && owner['controller'] === true).length > 1) {
    causes.push(invalid('metadata.ownerReferences', owners, 'Only one reference can have Controller set to true'))
  }
  return causes
}

function finalizerViolations(finalizers: Json | undefined): FaultCause[] {
  if (!isJsonArray(finalizers)) return []
  return finalizers.flatMap((finalizer, index) => {
    const problem = typeof finalizer === 'string' ? formatProblem('qualifiedName', finalizer) : 'must be a string'
    return problem === undefined ? [] : [invalid(`metadata.finalizers[${index}]`, finalizer, problem)]
  })
}
