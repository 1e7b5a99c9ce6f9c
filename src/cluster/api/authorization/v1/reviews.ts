/** Access reviews, authorization.k8s.io/v1: questions about permissions, answered when created and never stored. */
import { defineKind } from '#schema/kind.ts'
import { bool, listOf, mapOf, object, string } from '#schema/vocabulary.ts'
import { labelSelectorRequirement } from '../../meta/v1/label-selector.ts'

const fieldSelectorRequirement = object(
  'meta.v1.FieldSelectorRequirement',
  {
    key: string().proto(1).doc('Path of the field.'),
    operator: string().proto(2).doc('In, NotIn, Exists or DoesNotExist.'),
    values: listOf(string()).omitEmpty().proto(3).doc('Values for In and NotIn.'),
  },
  { doc: 'One condition on a field.' },
)
const fieldSelectorAttributes = object(
  'authorization.v1.FieldSelectorAttributes',
  { rawSelector: string().omitEmpty().proto(1).doc('Selector as text.'), requirements: listOf(fieldSelectorRequirement).omitEmpty().proto(2).doc('Selector as conditions.') },
  { doc: 'Which objects, by fields.' },
)
const labelSelectorAttributes = object(
  'authorization.v1.LabelSelectorAttributes',
  { rawSelector: string().omitEmpty().proto(1).doc('Selector as text.'), requirements: listOf(labelSelectorRequirement).omitEmpty().proto(2).doc('Selector as conditions.') },
  { doc: 'Which objects, by labels.' },
)
const resourceAttributes = object(
  'authorization.v1.ResourceAttributes',
  {
    namespace: string().omitEmpty().proto(1).doc('Namespace; empty for cluster-scoped and for all.'),
    verb: string().omitEmpty().proto(2).doc('get, list, watch, create, update, patch, delete, deletecollection or *.'),
    group: string().omitEmpty().proto(3).doc('API group; * for all.'),
    version: string().omitEmpty().proto(4).doc('API version; * for all.'),
    resource: string().omitEmpty().proto(5).doc('Plural; * for all.'),
    subresource: string().omitEmpty().proto(6).doc('Subresource, if it is about one.'),
    name: string().omitEmpty().proto(7).doc('Name of the object; empty for all.'),
    fieldSelector: fieldSelectorAttributes.optional().proto(8).doc('Restriction by fields.'),
    labelSelector: labelSelectorAttributes.optional().proto(9).doc('Restriction by labels.'),
  },
  { doc: 'Access to objects.' },
)
const nonResourceAttributes = object(
  'authorization.v1.NonResourceAttributes',
  { path: string().omitEmpty().proto(1).doc('URL path.'), verb: string().omitEmpty().proto(2).doc('HTTP method in lower case.') },
  { doc: 'Access to a path.' },
)
const subject = {
  resourceAttributes: resourceAttributes.optional().proto(1).doc('Access to objects.'),
  nonResourceAttributes: nonResourceAttributes.optional().proto(2).doc('Access to a path.'),
}
const subjectAccessReviewSpec = object(
  'authorization.v1.SubjectAccessReviewSpec',
  {
    ...subject,
    user: string().omitEmpty().proto(3).doc('Whose access is asked about.'),
    groups: listOf(string()).omitEmpty().proto(4).doc('Groups of that user.'),
    extra: mapOf(listOf(string())).omitEmpty().doc('More facts about that user.'),
    uid: string().omitEmpty().proto(6).doc('UID of that user.'),
  },
  { doc: 'The question.' },
)
const accessStatus = object(
  'authorization.v1.SubjectAccessReviewStatus',
  {
    allowed: bool().proto(1).doc('Whether the action is allowed.'),
    denied: bool().omitEmpty().proto(4).doc('Whether it is denied for good.'),
    reason: string().omitEmpty().proto(2).doc('Why.'),
    evaluationError: string().omitEmpty().proto(3).doc('What went wrong while deciding.'),
  },
  { reported: true, doc: 'The answer.' },
)
const resourceRule = object(
  'authorization.v1.ResourceRule',
  {
    verbs: listOf(string()).proto(1).doc('Verbs that are allowed.'),
    apiGroups: listOf(string()).omitEmpty().proto(2).doc('Groups they hold for.'),
    resources: listOf(string()).omitEmpty().proto(3).doc('Resources they hold for.'),
    resourceNames: listOf(string()).omitEmpty().proto(4).doc('Objects they hold for; empty for all.'),
  },
  { doc: 'What may be done with objects.' },
)
const nonResourceRule = object(
  'authorization.v1.NonResourceRule',
  { verbs: listOf(string()).proto(1).doc('Methods that are allowed.'), nonResourceURLs: listOf(string()).omitEmpty().proto(2).doc('Paths they hold for.') },
  { doc: 'What may be done with paths.' },
)
const rulesStatus = object(
  'authorization.v1.SubjectRulesReviewStatus',
  {
    resourceRules: listOf(resourceRule).proto(1).doc('Rules for objects.'),
    nonResourceRules: listOf(nonResourceRule).proto(2).doc('Rules for paths.'),
    incomplete: bool().proto(3).doc('Whether there may be more.'),
    evaluationError: string().omitEmpty().proto(4).doc('What went wrong while deciding.'),
  },
  { reported: true, doc: 'The answer.' },
)

const review = { group: 'authorization.k8s.io', version: 'v1', verbs: ['create'] } as const
const status = accessStatus.always().proto(3).doc('The answer, from the server.')

export const LocalSubjectAccessReview = defineKind({
  ...review,
  kind: 'LocalSubjectAccessReview',
  plural: 'localsubjectaccessreviews',
  namespaced: true,
  doc: 'Whether somebody may do something in one namespace.',
  fields: { spec: subjectAccessReviewSpec.proto(2).doc('The question.'), status },
})
export const SelfSubjectAccessReview = defineKind({
  ...review,
  kind: 'SelfSubjectAccessReview',
  plural: 'selfsubjectaccessreviews',
  namespaced: false,
  doc: 'Whether the caller may do something.',
  fields: { spec: object('authorization.v1.SelfSubjectAccessReviewSpec', subject, { doc: 'The question.' }).proto(2).doc('The question.'), status },
})
export const SelfSubjectRulesReview = defineKind({
  ...review,
  kind: 'SelfSubjectRulesReview',
  plural: 'selfsubjectrulesreviews',
  namespaced: false,
  doc: 'What the caller may do in a namespace.',
  fields: {
    spec: object('authorization.v1.SelfSubjectRulesReviewSpec', { namespace: string().omitEmpty().proto(1).doc('Namespace asked about.') }, { doc: 'The question.' }).proto(2).doc('The question.'),
    status: rulesStatus.always().proto(3).doc('The answer, from the server.'),
  },
})
export const SubjectAccessReview = defineKind({
  ...review,
  kind: 'SubjectAccessReview',
  plural: 'subjectaccessreviews',
  namespaced: false,
  doc: 'Whether somebody may do something.',
  fields: { spec: subjectAccessReviewSpec.proto(2).doc('The question.'), status },
})
