/**
 * Who may do what: the API server asks its authorizer once per request, after authentication and before anything is
 * parsed. Attributes follow https://kubernetes.io/docs/reference/access-authn-authz/authorization/.
 */

/** Who asks. Groups are literal: `system:authenticated` or `system:unauthenticated` is among them. */
export interface UserInfo {
  readonly name: string
  readonly uid?: string
  readonly groups: readonly string[]
  readonly extra?: Readonly<Record<string, readonly string[]>>
}

/** A request for an object or a collection. */
export interface ResourceAttributes {
  /** get, list, watch, create, update, patch, delete, deletecollection; others for virtual verbs such as `impersonate`. */
  readonly verb: string
  /** Empty for the core group. */
  readonly group: string
  /** Lower-case plural, e.g. `pods`. */
  readonly resource: string
  /** Empty when the object itself is meant. */
  readonly subresource: string
  /** Empty for cluster-scoped objects and for all namespaces. */
  readonly namespace: string
  /** Empty for collections and for creation. */
  readonly name: string
}

/** A request for a path that is no resource, e.g. `/healthz`; its verb is the lower-case HTTP method. */
export interface PathAttributes {
  readonly verb: string
  readonly path: string
}

export interface AuthorizationRequest {
  readonly user: UserInfo
  readonly attributes: ResourceAttributes | PathAttributes
}

/** `reason` is shown to the caller when denied, and to SubjectAccessReview in either case. */
export interface Decision {
  readonly allowed: boolean
  readonly reason: string
}

export interface Authorizer {
  authorize(request: AuthorizationRequest): Decision
}

export function isResourceAttributes(attributes: ResourceAttributes | PathAttributes): attributes is ResourceAttributes {
  return 'resource' in attributes
}
