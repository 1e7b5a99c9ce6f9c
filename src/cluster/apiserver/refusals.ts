/**
 * The API server's refusals in the words that Kubernetes clients know (some of them match on these words), as Faults whose
 * `details` name the object: `{ name, group, kind }`, where `kind` is the plural, as upstream puts it. Upstream:
 * apimachinery `api/errors`, "Status" in the API conventions.
 */
import { Fault, type FaultCause } from '#base/fault.ts'

/** What a refusal needs to know of a resource. */
export interface ResourceName {
  readonly group: string
  readonly plural: string
  readonly kind: string
}

/** `pods`, `deployments.apps`. */
export function qualifiedName({ group, plural }: ResourceName): string {
  return group === '' ? plural : `${plural}.${group}`
}

function details(resource: ResourceName, name: string): Readonly<Record<string, unknown>> {
  return { name, group: resource.group, kind: resource.plural }
}

export function notFound(resource: ResourceName, name: string): Fault {
  return new Fault('notFound', `${qualifiedName(resource)} "${name}" not found`, { details: details(resource, name) })
}

export function alreadyExists(resource: ResourceName, name: string): Fault {
  return new Fault('alreadyExists', `${qualifiedName(resource)} "${name}" already exists`, { details: details(resource, name) })
}

export function conflict(resource: ResourceName, name: string, why: string): Fault {
  return new Fault('conflict', `Operation cannot be fulfilled on ${qualifiedName(resource)} "${name}": ${why}`, { details: details(resource, name) })
}

export function modified(resource: ResourceName, name: string): Fault {
  return conflict(resource, name, 'the object has been modified; please apply your changes to the latest version and try again')
}

export function forbidden(resource: ResourceName, name: string, why: string, causes: readonly FaultCause[] = []): Fault {
  return new Fault('permissionDenied', `${qualifiedName(resource)} "${name}" is forbidden: ${why}`, { causes, details: details(resource, name) })
}

export function badRequest(message: string): Fault {
  return new Fault('invalidArgument', message)
}

export function expiredVersion(): Fault {
  return new Fault('expired', 'The resourceVersion for the provided watch is too old: list again and watch from the version of that list')
}

export function expiredContinue(): Fault {
  return new Fault('expired', 'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter')
}

export function versionTooLarge(wanted: bigint, current: bigint): Fault {
  const message = `Too large resource version: ${wanted}, current: ${current}`
  return new Fault('timeout', message, { causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }], retryAfterSeconds: 1 })
}
