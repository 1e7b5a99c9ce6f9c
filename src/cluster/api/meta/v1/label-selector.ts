/** LabelSelector, meta/v1: the structured form of a label query. Evaluate it with `#schema/selector.ts`. */
import type { Out } from '#schema/vocabulary.ts'
import { listOf, mapOf, object, oneOf, string } from '#schema/vocabulary.ts'
import { labelRequirementRules, labelSelectorRules } from './selector-rules.ts'

export const labelSelectorRequirement = object(
  'meta.v1.LabelSelectorRequirement',
  {
    key: string().proto(1).doc('Label key.'),
    operator: oneOf('In', 'NotIn', 'Exists', 'DoesNotExist').proto(2).doc('How the label relates to the values.'),
    values: listOf(string()).omitEmpty().proto(3).doc('Values for In and NotIn; empty for Exists and DoesNotExist.'),
  },
  { doc: 'One condition on a label.', check: labelRequirementRules },
)
export interface LabelSelectorRequirement extends Out<typeof labelSelectorRequirement> {}

export const labelSelector = object(
  'meta.v1.LabelSelector',
  {
    matchLabels: mapOf(string()).omitEmpty().proto(1).doc('Labels that must be equal.'),
    matchExpressions: listOf(labelSelectorRequirement).omitEmpty().proto(2).doc('Conditions that must all hold.'),
  },
  { atomic: true, check: labelSelectorRules, doc: 'A query over labels: all parts must hold; an empty selector matches everything.' },
)
export interface LabelSelector extends Out<typeof labelSelector> {}
