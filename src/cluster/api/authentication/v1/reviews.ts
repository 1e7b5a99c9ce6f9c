/** Reviews of identities and requests for tokens, authentication.k8s.io/v1: answered when created and never stored. */
import { defineKind } from '#schema/kind.ts'
import { bool, int64, listOf, mapOf, object, string, time } from '#schema/vocabulary.ts'

const userInfo = object(
  'authentication.v1.UserInfo',
  {
    username: string().omitEmpty().proto(1).doc('Name of the user.'),
    uid: string().omitEmpty().proto(2).doc('UID of the user.'),
    groups: listOf(string()).omitEmpty().proto(3).doc('Groups of the user.'),
    extra: mapOf(listOf(string())).omitEmpty().doc('More facts.'),
  },
  { doc: 'Who somebody is.' },
)

const review = { group: 'authentication.k8s.io', version: 'v1', namespaced: false, verbs: ['create'] } as const

export const TokenReview = defineKind({
  ...review,
  kind: 'TokenReview',
  plural: 'tokenreviews',
  doc: 'Whose token it is.',
  fields: {
    spec: object(
      'authentication.v1.TokenReviewSpec',
      { token: string().omitEmpty().confidential().proto(1).doc('The token.'), audiences: listOf(string()).omitEmpty().proto(2).doc('Whom the token must be for.') },
      { doc: 'The question.' },
    ).proto(2).doc('The question.'),
    status: object(
      'authentication.v1.TokenReviewStatus',
      {
        authenticated: bool().omitEmpty().proto(1).doc('Whether the token is known.'),
        user: userInfo.always().proto(2).doc('Whose it is.'),
        audiences: listOf(string()).omitEmpty().proto(4).doc('Whom it is for.'),
        error: string().omitEmpty().proto(3).doc('Why it was not accepted.'),
      },
      { reported: true, doc: 'The answer.' },
    ).always().proto(3).doc('The answer, from the server.'),
  },
})

export const SelfSubjectReview = defineKind({
  ...review,
  kind: 'SelfSubjectReview',
  plural: 'selfsubjectreviews',
  doc: 'Who the caller is.',
  fields: {
    status: object('authentication.v1.SelfSubjectReviewStatus', { userInfo: userInfo.always().proto(1).doc('The caller.') }, { reported: true, doc: 'The answer.' })
      .always()
      .proto(2)
      .doc('The answer, from the server.'),
  },
})

/** Created at `serviceaccounts/token` only. */
export const TokenRequest = defineKind({
  group: 'authentication.k8s.io',
  version: 'v1',
  kind: 'TokenRequest',
  plural: 'tokenrequests',
  namespaced: true,
  verbs: ['create'],
  doc: 'Asks for a token of a service account.',
  fields: {
    spec: object(
      'authentication.v1.TokenRequestSpec',
      {
        audiences: listOf(string()).always().proto(1).doc('Whom the token is for; empty for the API server.'),
        expirationSeconds: int64().default(3600).proto(4).doc('How long it is good.'),
        boundObjectRef: object(
          'authentication.v1.BoundObjectReference',
          {
            kind: string().omitEmpty().proto(1).doc('Pod, Secret or Node.'),
            apiVersion: string().omitEmpty().proto(2).doc('v1'),
            name: string().omitEmpty().proto(3).doc('Name of the object.'),
            uid: string().omitEmpty().proto(4).doc('UID of the object.'),
          },
          { doc: 'The object that a token lives no longer than.' },
        ).optional().proto(3).doc('The object that the token lives no longer than.'),
      },
      { doc: 'The wish.' },
    ).always().proto(2).doc('The wish.'),
    status: object(
      'authentication.v1.TokenRequestStatus',
      { token: string().confidential().proto(1).doc('The token.'), expirationTimestamp: time().omitEmpty().proto(2).doc('When it ends.') },
      { reported: true, doc: 'The token.' },
    ).always().proto(3).doc('The token, from the server.'),
  },
})
