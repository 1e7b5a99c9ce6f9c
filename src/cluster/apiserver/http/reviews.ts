/**
 * Questions that are asked by creating an object which is answered and not stored: may I, may he, who am I, whose token is this.
 * https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/, …/authentication-resources/
 */
import { isJsonArray, isJsonObject, type JsonObject } from '#schema/json.ts'
import type { AnyKind } from '#schema/kind.ts'
import { SelfSubjectReview, TokenReview } from '../../api/authentication/v1/reviews.ts'
import { LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview } from '../../api/authorization/v1/reviews.ts'
import type { PolicyRule } from '../../api/rbac/v1/policy-rule.ts'
import type { Authorizer, AuthorizationRequest, Decision, UserInfo } from '../../contract/authorizer.ts'
import { badRequest } from '../refusals.ts'
import type { Authentication } from './authentication.ts'

export const reviewKinds: readonly AnyKind[] = [LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview, SelfSubjectReview, TokenReview]

export interface ReviewPorts {
  readonly authorizer: Authorizer
  readonly authentication: Authentication
  readonly rules: (user: UserInfo, namespace: string) => readonly PolicyRule[]
}

const string = (object: JsonObject, key: string): string => {
  const value = object[key]
  return typeof value === 'string' ? value : ''
}
const strings = (object: JsonObject, key: string): readonly string[] => {
  const value = object[key]
  return isJsonArray(value) ? value.map(String) : []
}

function attributesOf(spec: JsonObject): AuthorizationRequest['attributes'] {
  const { resourceAttributes: resource, nonResourceAttributes: path } = spec
  if (isJsonObject(resource)) {
    return {
      verb: string(resource, 'verb'),
      group: string(resource, 'group'),
      resource: string(resource, 'resource'),
      subresource: string(resource, 'subresource'),
      namespace: string(resource, 'namespace'),
      name: string(resource, 'name'),
    }
  }
  if (isJsonObject(path)) return { verb: string(path, 'verb'), path: string(path, 'path') }
  throw badRequest('spec: exactly one of resourceAttributes or nonResourceAttributes must be specified')
}

function accessStatus({ allowed, reason }: Decision): JsonObject {
  return { allowed, ...(reason === '' ? {} : { reason }) }
}

function userJson({ name, uid, groups, extra }: UserInfo): JsonObject {
  const shown = extra === undefined ? undefined : Object.fromEntries(Object.entries(extra).map(([key, values]): [string, readonly string[]] => [key, [...values]]))
  return { username: name, uid, groups: [...groups], extra: shown }
}

/** The rules that hold for the caller. What the built-in authorizer grants to nodes is about particular objects, and not among them. */
function rulesStatus(user: UserInfo, namespace: string, { rules }: ReviewPorts): JsonObject {
  const held = rules(user, namespace)
  const isFilled = (list: readonly string[] | undefined): boolean => (list?.length ?? 0) > 0
  return {
    resourceRules: held.filter(({ resources }) => isFilled(resources)).map(({ verbs, apiGroups, resources, resourceNames }) => ({ verbs, apiGroups, resources, resourceNames })),
    nonResourceRules: held.filter(({ nonResourceURLs }) => isFilled(nonResourceURLs)).map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs })),
    incomplete: user.groups.includes('system:nodes'),
  }
}

/** The review with its status. `namespace` is the request's, for LocalSubjectAccessReview. */
export function answerReview({ kind, apiVersion }: AnyKind, body: unknown, caller: { readonly user: UserInfo; readonly namespace: string }, ports: ReviewPorts): JsonObject {
  const review: JsonObject = isJsonObject(body) ? body : {}
  const spec: JsonObject = isJsonObject(review['spec']) ? review['spec'] : {}
  const metadata: JsonObject = { ...(isJsonObject(review['metadata']) ? review['metadata'] : {}), creationTimestamp: null }
  const answer = (status: JsonObject): JsonObject => ({ kind, apiVersion, metadata, ...(kind === 'SelfSubjectReview' ? {} : { spec }), status })
  switch (kind) {
    case 'SelfSubjectAccessReview':
      return answer(accessStatus(ports.authorizer.authorize({ user: caller.user, attributes: attributesOf(spec) })))
    case 'SubjectAccessReview':
    case 'LocalSubjectAccessReview': {
      const user = { name: string(spec, 'user'), groups: strings(spec, 'groups'), uid: string(spec, 'uid') }
      if (user.name === '' && user.groups.length === 0) throw badRequest('spec: at least one of user or groups must be specified')
      const attributes = attributesOf(spec)
      if (kind === 'LocalSubjectAccessReview' && !('resource' in attributes && attributes.namespace === caller.namespace)) {
        throw badRequest(`spec.resourceAttributes.namespace must be the namespace of the request, ${caller.namespace}`)
      }
      return answer(accessStatus(ports.authorizer.authorize({ user, attributes })))
    }
    case 'SelfSubjectRulesReview':
      return answer(rulesStatus(caller.user, string(spec, 'namespace'), ports))
    case 'SelfSubjectReview':
      return answer({ userInfo: userJson(caller.user) })
    case 'TokenReview': {
      const audiences = strings(spec, 'audiences')
      const user = ports.authentication.ofToken(string(spec, 'token'), audiences)
      return answer(user === undefined ? { authenticated: false, error: 'the token is not accepted' } : { authenticated: true, user: userJson(user), audiences: [...audiences] })
    }
    default:
      throw badRequest(`${kind} is no review`)
  }
}
