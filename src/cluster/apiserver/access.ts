/**
 * The built-in authorizer: system:masters may do everything, each node what its kubelet, proxy and DNS need (in the spirit of
 * https://kubernetes.io/docs/reference/access-authn-authz/node/), everybody may see what is served and whether the server lives.
 * Everything else is denied.
 */
import { isJsonArray, isJsonObject, type Json, type JsonObject } from '#schema/json.ts'
import type { Pod } from '../api/core/v1/pod.ts'
import { isResourceAttributes, type AuthorizationRequest, type Authorizer, type Decision, type PathAttributes, type ResourceAttributes } from '../contract/authorizer.ts'
import { asKind, metaOf } from './entry.ts'
import type { Surroundings } from './strategy.ts'

const allowed = (reason: string): Decision => ({ allowed: true, reason })
const denied: Decision = { allowed: false, reason: '' }

/** Open to everybody, also to the anonymous. */
const publicPaths = new Set(['/healthz', '/livez', '/readyz', '/version', '/version/'])
const discoveryPaths = /^\/(api|apis|openapi|healthz|livez|readyz|\.well-known\/openid-configuration)(\/|$)|^\/openid\/v1\/jwks$/

/** Virtual resources about the caller itself. */
const selfReviews = new Set(['selfsubjectaccessreviews', 'selfsubjectrulesreviews', 'selfsubjectreviews'])

function decidePath({ verb, path }: PathAttributes, groups: readonly string[]): Decision {
  if (verb !== 'get' && verb !== 'head') return denied
  if (publicPaths.has(path)) return allowed('everybody may see whether the server lives')
  return groups.includes('system:authenticated') && discoveryPaths.test(path) ? allowed('whoever is authenticated may see what is served') : denied
}

const reads = new Set(['get', 'list', 'watch'])
/** `resource.group` that each node's agent, proxy and DNS read as a whole. */
const nodeReads = new Set(['services.', 'nodes.', 'namespaces.', 'endpointslices.discovery.k8s.io', 'pods.', 'leases.coordination.k8s.io'])
const nodeReviews = new Set(['tokenreviews.authentication.k8s.io', 'subjectaccessreviews.authorization.k8s.io'])

/** Whether a pod's volumes, environment or pull secrets name an object. */
function mentions(pod: JsonObject, resource: string, name: string): boolean {
  const keys = resource === 'secrets' ? new Set(['secretName', 'secret', 'secretKeyRef', 'secretRef', 'imagePullSecrets']) : new Set(['configMap', 'configMapKeyRef', 'configMapRef'])
  const names = (value: Json | undefined): boolean => {
    if (typeof value === 'string') return value === name
    if (isJsonArray(value)) return value.some(names)
    return isJsonObject(value) && (value['name'] === name || value['secretName'] === name)
  }
  const search = (value: Json | undefined): boolean => {
    if (isJsonArray(value)) return value.some(search)
    if (!isJsonObject(value)) return false
    return Object.entries(value).some(([key, inner]) => (keys.has(key) && names(inner)) || search(inner))
  }
  return search(pod['spec'])
}

export function builtinAuthorizer(surroundings: Surroundings): Authorizer {
  const podOnNode = (namespace: string, name: string, node: string): boolean => {
    const pod = surroundings.object({ group: '', plural: 'pods' }, { namespace, name })
    return pod === undefined || asKind<Pod>(pod).spec.nodeName === node
  }
  const referenced = ({ resource, namespace, name }: ResourceAttributes, node: string): boolean => {
    for (const object of surroundings.podsOn(node)) {
      if (metaOf(object).namespace !== namespace) continue
      if (resource === 'configmaps' && name === 'kube-root-ca.crt') return true
      if (mentions(object, resource, name)) return true
    }
    return false
  }
  const runsAs = (namespace: string, account: string, node: string): boolean => {
    for (const object of surroundings.podsOn(node)) {
      const pod = asKind<Pod>(object)
      if (pod.metadata.namespace === namespace && pod.spec.serviceAccountName === account) return true
    }
    return false
  }
  const nodeMay = (attributes: ResourceAttributes, node: string): boolean => {
    const { verb, resource, group, subresource, name, namespace } = attributes
    const id = `${resource}.${group}`
    if (subresource === '' && reads.has(verb) && nodeReads.has(id)) return true
    switch (id) {
      case 'nodes.':
        return (verb === 'create' && subresource === '') || ((verb === 'update' || verb === 'patch') && (subresource === '' || subresource === 'status') && name === node)
      case 'leases.coordination.k8s.io':
        return namespace === 'kube-node-lease' && (verb === 'create' || ((verb === 'update' || verb === 'patch' || verb === 'delete') && name === node))
      case 'pods.':
        if (subresource === 'status') return (verb === 'update' || verb === 'patch') && podOnNode(namespace, name, node)
        // Static pods: the kubelet shows them as mirror pods.
        return subresource === '' && (verb === 'create' || (verb === 'delete' && podOnNode(namespace, name, node)))
      case 'events.':
      case 'events.events.k8s.io':
        return verb === 'create' || verb === 'update' || verb === 'patch'
      case 'secrets.':
      case 'configmaps.':
        return (verb === 'get' || verb === 'list' || verb === 'watch') && name !== '' && referenced(attributes, node)
      case 'serviceaccounts.':
        if (subresource === 'token') return verb === 'create' && runsAs(namespace, name, node)
        return verb === 'get' && runsAs(namespace, name, node)
      default:
        return verb === 'create' && nodeReviews.has(id)
    }
  }
  return {
    authorize({ user, attributes }: AuthorizationRequest): Decision {
      if (user.groups.includes('system:masters')) return allowed('system:masters may do everything')
      if (!isResourceAttributes(attributes)) return decidePath(attributes, user.groups)
      if (attributes.verb === 'create' && selfReviews.has(attributes.resource) && user.groups.includes('system:authenticated')) return allowed('everybody may ask about themselves')
      const node = user.groups.includes('system:nodes') && user.name.startsWith('system:node:') ? user.name.slice('system:node:'.length) : undefined
      if (node !== undefined && nodeMay(attributes, node)) return allowed(`the node ${node} needs it`)
      return denied
    },
  }
}

/** The refusal in upstream's words. */
export function denialMessage({ user, attributes }: AuthorizationRequest, reason: string): string {
  const suffix = reason === '' ? '' : `: ${reason}`
  if (!isResourceAttributes(attributes)) return `forbidden: User "${user.name}" cannot ${attributes.verb} path "${attributes.path}"${suffix}`
  const { verb, resource, group, subresource, namespace, name } = attributes
  const what = `${resource}${subresource === '' ? '' : `/${subresource}`}`
  const object = `${what.includes('/') || group === '' ? what.split('/')[0] : `${resource}.${group}`}${name === '' ? '' : ` "${name}"`}`
  const scope = namespace === '' ? 'at the cluster scope' : `in the namespace "${namespace}"`
  return `${object} is forbidden: User "${user.name}" cannot ${verb} resource "${what}" in API group "${group}" ${scope}${suffix}`
}
