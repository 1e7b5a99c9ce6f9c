/** Columns of `kubectl get endpointslices`: at most three ports and addresses, then how many more. */
import { ageColumn, defineTable, nameColumn, text } from '#schema/table.ts'
import { EndpointSlice } from './endpoint-slice.ts'

const shown = 3

function firstFew(items: readonly string[]): string {
  if (items.length === 0) return '<unset>'
  const few = items.slice(0, shown).join(',')
  return items.length > shown ? `${few} + ${items.length - shown} more...` : few
}

export const endpointSliceTable = defineTable(EndpointSlice, [
  nameColumn,
  text('AddressType', 'Family of the addresses.', ({ addressType }) => addressType),
  text('Ports', 'Ports of the endpoints.', ({ ports }) => firstFew(ports.map(({ port, name }) => (port === undefined ? (name === '' ? '*' : name) : String(port))))),
  text('Endpoints', 'Addresses of the endpoints.', ({ endpoints }) => firstFew(endpoints.flatMap(({ addresses }) => addresses))),
  ageColumn,
])
