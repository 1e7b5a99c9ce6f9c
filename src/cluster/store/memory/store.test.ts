/** The store in memory keeps the store's contract. */
import { storeSuite } from '../../contract/store.suite.ts'
import { openMemoryStore } from './store.ts'

storeSuite('memory', async () => openMemoryStore())
