import { run } from './client'

Object.assign(window, { run })
