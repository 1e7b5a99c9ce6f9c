/** What a policy rule allows (https://kubernetes.io/docs/reference/access-authn-authz/rbac/). Pure. */
import type { PolicyRule } from '../../api/rbac/v1/policy-rule.ts'
import { isResourceAttributes, type AuthorizationRequest } from '../../contract/authorizer.ts'

const has = (list: readonly string[] | undefined, wanted: string): boolean => list !== undefined && (list.includes('*') || list.includes(wanted))

/** `pods/log` is allowed by itself, by `*`, and by `*` + `/log`. */
function allowsResource(resources: readonly string[] | undefined, resource: string, subresource: string): boolean {
  const wanted = subresource === '' ? resource : `${resource}/${subresource}`
  return has(resources, wanted) || (subresource !== '' && resources?.includes(`*/${subresource}`) === true)
}

function allowsPath(patterns: readonly string[] | undefined, path: string): boolean {
  return (patterns ?? []).some((pattern) => pattern === path || pattern === '*' || (pattern.endsWith('*') && path.startsWith(pattern.slice(0, -1))))
}

export function allows(rule: PolicyRule, attributes: AuthorizationRequest['attributes']): boolean {
  if (!has(rule.verbs, attributes.verb)) return false
  if (!isResourceAttributes(attributes)) return allowsPath(rule.nonResourceURLs, attributes.path)
  const { group, resource, subresource, name } = attributes
  const named = rule.resourceNames === undefined || rule.resourceNames.length === 0 || rule.resourceNames.includes(name)
  return named && has(rule.apiGroups, group) && allowsResource(rule.resources, resource, subresource)
}

/** A rule for one verb on one thing: what `covers` compares. */
type Atom = { readonly verb: string; readonly path: string } | { readonly verb: string; readonly group: string; readonly resource: string; readonly name: string }

function atoms({ verbs, apiGroups = [], resources = [], resourceNames = [], nonResourceURLs = [] }: PolicyRule): Atom[] {
  const names = resourceNames.length === 0 ? [''] : resourceNames
  return verbs.flatMap((verb): Atom[] => [
    ...nonResourceURLs.map((path) => ({ verb, path })),
    ...apiGroups.flatMap((group) => resources.flatMap((resource) => names.map((name) => ({ verb, group, resource, name })))),
  ])
}

function allowsAtom(rule: PolicyRule, atom: Atom): boolean {
  if (!has(rule.verbs, atom.verb)) return false
  if ('path' in atom) return allowsPath(rule.nonResourceURLs, atom.path)
  const names = rule.resourceNames ?? []
  const [resource = '', subresource = ''] = atom.resource.split('/')
  // A right for all names is not covered by rights for some.
  return (names.length === 0 || (atom.name !== '' && names.includes(atom.name))) && has(rule.apiGroups, atom.group) && allowsResource(rule.resources, resource, subresource)
}

/** The first thing that `wanted` allows and `held` do not; undefined when they cover it all. Nobody may grant more than he has. */
export function uncovered(held: readonly PolicyRule[], wanted: readonly PolicyRule[]): string | undefined {
  for (const rule of wanted) {
    for (const atom of atoms(rule)) {
      if (held.some((own) => allowsAtom(own, atom))) continue
      return 'path' in atom ? `${atom.verb} ${atom.path}` : `${atom.verb} ${atom.resource}${atom.group === '' ? '' : `.${atom.group}`}${atom.name === '' ? '' : ` "${atom.name}"`}`
    }
  }
  return undefined
}
