package main

import (
	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/i18n"
)

var schemaCommand = cli.Command{
	Name: "schema",
	Brief: i18n.Message{
		"print the JSON Schema of the configuration, for editors",
		"打印配置的 JSON Schema，供编辑器使用"},
	Flags: []cli.Flag{{Name: "routes", Help: i18n.Message{
		"the schema of the files in conf.d, which contain only routes", "conf.d 中文件的 Schema，其中只有 routes"}}},
	Examples: []string{"schema > config.schema.json", "schema --routes > routes.schema.json"},
	Run: func(c cli.Invocation) int {
		if c.Has("routes") {
			return c.Print(config.RoutesSchema())
		}
		return c.Print(config.Schema())
	},
}

var referenceCommand = cli.Command{
	Name: "config-reference",
	Brief: i18n.Message{
		"print the reference of every key as Markdown (docs/configuration.md)",
		"以 Markdown 打印全部配置项的参考（docs/configuration.zh-CN.md）"},
	Run: func(c cli.Invocation) int { return c.Print(config.Document(c.Language)) },
}
