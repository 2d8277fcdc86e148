// Prints the fields of each message and struct under MeshConfig, the Helm values and IstioOperator.
// Called by `make keys` (tests/keys.py).
package main

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/operator/pkg/apis"
)

// Types by name, each with its fields: "" for a value, the name of a type, after "[" for a list, after "{" for a map.
type types map[string]map[string]string

func (t types) message(d protoreflect.MessageDescriptor) string {
	name := string(d.FullName())
	if strings.HasPrefix(name, "google.protobuf.") || strings.HasSuffix(name, ".IntOrString") {
		return ""
	}
	if _, done := t[name]; done {
		return name
	}
	fields := map[string]string{}
	t[name] = fields
	for i := 0; i < d.Fields().Len(); i++ {
		f := d.Fields().Get(i)
		fields[f.JSONName()] = t.field(f)
	}
	return name
}

func (t types) field(f protoreflect.FieldDescriptor) string {
	prefix := ""
	if f.IsMap() {
		prefix, f = "{", f.MapValue()
	} else if f.IsList() {
		prefix = "["
	}
	if f.Message() == nil {
		return ""
	}
	if name := t.message(f.Message()); name != "" {
		return prefix + name
	}
	return ""
}

var reads = reflect.TypeFor[json.Unmarshaler]()

func (t types) goType(g reflect.Type) string {
	switch g.Kind() {
	case reflect.Pointer:
		return t.goType(g.Elem())
	case reflect.Slice, reflect.Map:
		if name := t.goType(g.Elem()); name != "" {
			return map[reflect.Kind]string{reflect.Slice: "[", reflect.Map: "{"}[g.Kind()] + name
		}
		return ""
	case reflect.Struct:
	default:
		return ""
	}
	if g.Implements(reads) || reflect.PointerTo(g).Implements(reads) {
		return ""
	}
	name := g.String()
	if _, done := t[name]; done {
		return name
	}
	fields := map[string]string{}
	t[name] = fields
	for _, f := range reflect.VisibleFields(g) {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && key != "" && key != "-" {
			fields[key] = t.goType(f.Type)
		}
	}
	return name
}

func main() {
	t := types{}
	t.message((&meshconfig.MeshConfig{}).ProtoReflect().Descriptor())
	t.message((&apis.Values{}).ProtoReflect().Descriptor())
	t.goType(reflect.TypeFor[apis.IstioOperatorSpec]())
	_ = json.NewEncoder(os.Stdout).Encode(t)
}
