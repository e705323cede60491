package config

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"dinggate/internal/i18n"
	"dinggate/proxy/access"
)

// SchemaID is the $id of the schema: its place in the source repository.
const SchemaID = "docs/config.schema.json"

// RoutesSchemaID is the $id of RoutesSchema.
const RoutesSchemaID = "docs/routes.schema.json"

// schema is a JSON Schema, or a part of one.
type schema map[string]any

// Schema returns the JSON Schema (draft 2020-12) of the configuration file, for editors.
// It accepts every file that Load accepts. It does not cover conditions between keys,
// limits of durations and the content of other files; check covers them.
func Schema() []byte {
	root := sectionSchema(reflect.TypeFor[Config](), "")
	root["allOf"] = append(conditions(root),
		never(given("upstream", 1), given("routes", 1)),
		never(anyGiven("dingtalk", "client_id", "client_secret", "corp_id"),
			anyGiven("sso", "url", "client_id", "client_secret")),
	)
	return root.document(SchemaID, "dinggate")
}

// RoutesSchema is the schema of a file in RoutesFolder.
func RoutesSchema() []byte {
	whole := sectionSchema(reflect.TypeFor[Config](), "")["properties"].(schema)
	root := schema{"type": "object", "additionalProperties": false, "properties": schema{"routes": whole["routes"]}}
	return root.document(RoutesSchemaID, "dinggate "+RoutesFolder)
}

// document encodes the schema as a file.
func (s schema) document(id, title string) []byte {
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["$id"] = id
	s["title"] = title
	s["$defs"] = schema{
		"text":     schema{"type": []string{"string", "number"}},
		"duration": schema{"type": "string", "pattern": durationPattern},
		"secret":   schema{"type": []string{"string", "number"}},
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(s); err != nil { // maps, lists and strings only
		panic(err)
	}
	return out.Bytes()
}

// sectionSchema returns the schema of a struct; path is its key with a dot, or "".
func sectionSchema(t reflect.Type, path string) schema {
	properties, needed := schema{}, []string{}
	var pairs []schema
	for _, f := range fieldsOf(t) {
		key := path + f.name
		properties[f.name] = describeKey(valueSchema(f.typ, key), key)
		if constraints[key].required {
			needed = append(needed, f.name)
		}
		if isSecret(f.typ) {
			file := f.name + fileSuffix
			properties[file] = describeKey(schema{"$ref": "#/$defs/text"}, key+fileSuffix)
			pairs = append(pairs, never(given(f.name, 1), given(file, 1)))
		}
	}
	s := schema{"type": "object", "additionalProperties": false, "properties": properties}
	if len(needed) > 0 {
		s["required"] = needed
	}
	if len(pairs) > 0 {
		s["allOf"] = pairs
	}
	return s
}

func describeKey(s schema, key string) schema {
	if m := Meanings[key]; m[i18n.English] != "" {
		s["description"] = m[i18n.English] + "\n" + m[i18n.Chinese]
	}
	return s
}

// valueSchema returns the schema of one key.
func valueSchema(t reflect.Type, key string) schema {
	c := constraints[key]
	switch {
	case t == reflect.TypeFor[*access.RuleConfig]():
		return ruleSchema(key)
	case t == headersType:
		return schema{"type": "object", "propertyNames": schema{"pattern": headerPattern},
			"additionalProperties": schema{"enum": c.values}}
	case t == secretType && c.pattern == "":
		return schema{"$ref": "#/$defs/secret"}
	case t == passHostType:
		return schema{"type": []string{"boolean", "string"}, "pattern": c.pattern}
	case t == durationType && c.positive:
		return schema{"$ref": "#/$defs/duration", "pattern": "[1-9]"}
	case t == durationType:
		return schema{"$ref": "#/$defs/duration"}
	case t.Kind() == reflect.Bool:
		return schema{"type": "boolean"}
	case t.Kind() == reflect.Int:
		s := schema{"type": "integer"}
		if c.high > 0 {
			s["minimum"], s["maximum"] = c.low, c.high
		}
		return s
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct && t.Elem() != secretType:
		return schema{"type": "array", "items": sectionSchema(t.Elem(), key+"[].")}
	case t.Kind() == reflect.Slice:
		s := schema{"type": "array", "items": textSchema(constraints[key+"[]"])}
		if c.nonEmpty {
			s["minItems"] = 1
		}
		return s
	case t.Kind() == reflect.Struct && reflect.PointerTo(t).Implements(textType) && t == reflect.TypeFor[Text]():
		below := sectionSchema(t, key+".")
		for _, language := range []string{"zh", "en"} {
			below["properties"].(schema)[language] = textSchema(c)
		}
		return schema{"anyOf": []schema{textSchema(c), below}}
	case t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(textType):
		return sectionSchema(t, key+".")
	}
	return textSchema(c)
}

// textSchema returns the schema of a text, which may be digits.
func textSchema(c constraint) schema {
	if c.values != nil {
		return schema{"enum": c.values}
	}
	s := schema{"$ref": "#/$defs/text"}
	// digits, which YAML reads as a number, are not included
	if c.pattern != "" && !regexp.MustCompile(c.pattern).MatchString("42") {
		s = schema{"type": "string"}
	}
	if c.pattern != "" {
		s["pattern"] = c.pattern
	}
	if c.not != "" {
		s["not"] = schema{"type": "string", "pattern": c.not}
	}
	if c.length > 0 {
		s["maxLength"] = c.length
	}
	return s
}

// ruleSchema returns the schema of `access`: a word, or lists of which one is not empty.
func ruleSchema(key string) schema {
	lists := sectionSchema(reflect.TypeFor[access.RuleConfig](), key+".")
	var some []schema
	for name := range lists["properties"].(schema) {
		some = append(some, given(name, 1))
	}
	slices.SortFunc(some, func(a, b schema) int {
		return strings.Compare(a["required"].([]string)[0], b["required"].([]string)[0])
	})
	if key == consoleRule { // empty: no console; a word is not allowed
		return lists
	}
	lists["anyOf"] = some
	words := constraints[key].values
	if words == nil {
		words = []string{"public", "signed_in"}
	}
	return schema{"anyOf": []schema{{"enum": words}, lists}}
}

// given requires a key with a non-empty value.
func given(name string, least int) schema {
	return schema{"required": []string{name}, "properties": schema{name: schema{"minLength": least, "minItems": least}}}
}

// anyGiven requires one of the keys of a section.
func anyGiven(section string, names ...string) schema {
	var any []schema
	for _, name := range names {
		any = append(any, given(name, 1))
	}
	return schema{"required": []string{section}, "properties": schema{section: schema{"anyOf": any}}}
}

// never excludes a combination of two conditions.
func never(a, b schema) schema { return schema{"not": schema{"allOf": []schema{a, b}}} }

// conditions returns the conditions that a section already has.
func conditions(s schema) []schema {
	have, _ := s["allOf"].([]schema)
	return have
}
