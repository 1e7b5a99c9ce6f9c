/**
 * An OpenAPI v2 document as the protobuf message `openapi.v2.Document` (google/gnostic, OpenAPIv2.proto), which is the only
 * form that kubectl asks `/openapi/v2` for. Defaults, enums and extensions travel as YAML text; JSON is YAML.
 */
import type { Json, JsonObject } from './json.ts'
import { isJsonArray, isJsonObject } from './json.ts'
import { ProtoWriter } from '#base/proto-wire.ts'

/** What clients accept … */
export const openapiV2Accepted = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf'
/** … and what the answer's Content-Type must be: `@` is not allowed there, and Go clients refuse it. */
export const openapiV2ContentType = 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf'

export function encodeOpenapiV2(document: JsonObject): Buffer {
  const writer = new ProtoWriter()
  text(writer, 1, document['swagger'])
  writer.message(2, (info) => {
    const given = objectOf(document['info'])
    text(info, 1, given['title'])
    text(info, 2, given['version'])
  })
  writer.message(8, (paths) => named(paths, 2, document['paths'], writePathItem))
  writer.message(9, (definitions) => named(definitions, 1, document['definitions'], writeSchema))
  return writer.finish()
}

type WriteMessage = (writer: ProtoWriter, value: JsonObject) => void

function objectOf(value: Json | undefined): JsonObject {
  return isJsonObject(value) ? value : {}
}
function listOf(value: Json | undefined): readonly Json[] {
  return isJsonArray(value) ? value : []
}
function text(writer: ProtoWriter, number: number, value: Json | undefined): void {
  if (typeof value === 'string' && value !== '') writer.string(number, value)
}
function flag(writer: ProtoWriter, number: number, value: Json | undefined): void {
  if (value === true) writer.varint(number, 1)
}
function texts(writer: ProtoWriter, number: number, value: Json | undefined): void {
  for (const item of listOf(value)) if (typeof item === 'string') writer.string(number, item)
}

/** A map, as a list of name and value. */
function named(writer: ProtoWriter, number: number, map: Json | undefined, write: WriteMessage): void {
  for (const [name, value] of Object.entries(objectOf(map))) {
    writer.message(number, (entry) => {
      entry.string(1, name)
      entry.message(2, (inner) => write(inner, objectOf(value)))
    })
  }
}

function any(writer: ProtoWriter, number: number, value: Json): void {
  writer.message(number, (inner) => inner.string(2, `${JSON.stringify(value)}\n`))
}

function extensions(writer: ProtoWriter, number: number, value: JsonObject): void {
  for (const [name, extension] of Object.entries(value)) {
    if (!name.startsWith('x-') || extension === undefined) continue
    writer.message(number, (entry) => {
      entry.string(1, name)
      any(entry, 2, extension)
    })
  }
}

function writeSchema(writer: ProtoWriter, schema: JsonObject): void {
  text(writer, 1, schema['$ref'])
  text(writer, 2, schema['format'])
  text(writer, 4, schema['description'])
  if (schema['default'] !== undefined) any(writer, 5, schema['default'])
  texts(writer, 19, schema['required'])
  for (const word of listOf(schema['enum'])) any(writer, 20, word)
  const additional = schema['additionalProperties']
  if (isJsonObject(additional)) writer.message(21, (item) => item.message(1, (inner) => writeSchema(inner, additional)))
  const type = schema['type']
  if (typeof type === 'string') writer.message(22, (item) => item.string(1, type))
  const items = schema['items']
  if (isJsonObject(items)) writer.message(23, (item) => item.message(1, (inner) => writeSchema(inner, items)))
  if (schema['properties'] !== undefined) writer.message(25, (properties) => named(properties, 1, schema['properties'], writeSchema))
  extensions(writer, 31, schema)
}

const methods: readonly (readonly [string, number])[] = [['get', 2], ['put', 3], ['post', 4], ['delete', 5], ['options', 6], ['head', 7], ['patch', 8]]

function writePathItem(writer: ProtoWriter, item: JsonObject): void {
  for (const [method, number] of methods) {
    const operation = item[method]
    if (isJsonObject(operation)) writer.message(number, (inner) => writeOperation(inner, operation))
  }
  for (const parameter of listOf(item['parameters'])) writer.message(9, (inner) => writeParameter(inner, objectOf(parameter)))
}

function writeOperation(writer: ProtoWriter, operation: JsonObject): void {
  text(writer, 3, operation['description'])
  text(writer, 5, operation['operationId'])
  texts(writer, 6, operation['produces'])
  texts(writer, 7, operation['consumes'])
  for (const parameter of listOf(operation['parameters'])) writer.message(8, (inner) => writeParameter(inner, objectOf(parameter)))
  writer.message(9, (responses) =>
    named(responses, 1, operation['responses'], (value, response) =>
      value.message(1, (inner) => {
        text(inner, 1, response['description'])
        const schema = response['schema']
        if (isJsonObject(schema)) inner.message(2, (item) => item.message(1, (body) => writeSchema(body, schema)))
      }),
    ),
  )
  texts(writer, 10, operation['schemes'])
  extensions(writer, 13, operation)
}

/** ParametersItem → Parameter → body, query or path parameter. */
function writeParameter(writer: ProtoWriter, parameter: JsonObject): void {
  writer.message(1, (wrapped) => {
    if (parameter['in'] === 'body') {
      wrapped.message(1, (body) => {
        text(body, 1, parameter['description'])
        text(body, 2, parameter['name'])
        text(body, 3, parameter['in'])
        flag(body, 4, parameter['required'])
        body.message(5, (schema) => writeSchema(schema, objectOf(parameter['schema'])))
      })
      return
    }
    const inPath = parameter['in'] === 'path'
    wrapped.message(2, (plain) =>
      plain.message(inPath ? 4 : 3, (inner) => {
        flag(inner, 1, parameter['required'])
        text(inner, 2, parameter['in'])
        text(inner, 3, parameter['description'])
        text(inner, 4, parameter['name'])
        text(inner, inPath ? 5 : 6, parameter['type'])
        flag(inner, inPath ? 19 : 20, parameter['uniqueItems'])
      }),
    )
  })
}
