/** Columns of config maps, secrets, service accounts and namespaces. */
import { ageColumn, count, defineTable, nameColumn, text } from '#schema/table.ts'
import { ConfigMap } from './config-map.ts'
import { Namespace } from './namespace.ts'
import { Secret } from './secret.ts'
import { ServiceAccount } from './service-account.ts'

const size = (map: object | undefined): number => Object.keys(map ?? {}).length

export const configMapTable = defineTable(ConfigMap, [nameColumn, count('Data', 'Number of keys.', ({ data, binaryData }) => size(data) + size(binaryData)), ageColumn])
export const secretTable = defineTable(Secret, [nameColumn, text('Type', 'Type of the secret.', ({ type }) => type), count('Data', 'Number of keys.', ({ data }) => size(data)), ageColumn])
export const serviceAccountTable = defineTable(ServiceAccount, [nameColumn, count('Secrets', 'Number of secrets it lists.', ({ secrets }) => secrets?.length ?? 0), ageColumn])
export const namespaceTable = defineTable(Namespace, [nameColumn, text('Status', 'Active or Terminating.', ({ status }) => status.phase), ageColumn])
