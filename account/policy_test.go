package account

import (
	"context"
	"errors"
	"testing"

	"dinggate/internal/identity"
)

// broken is a store that fails.
type broken struct{ Memory }

func (*broken) Find(context.Context, Binding) (Binding, error) {
	return Binding{}, errors.New("connection refused")
}

func (*broken) Resembles(context.Context, string) (bool, error) {
	return false, errors.New("connection refused")
}

func TestResolve(t *testing.T) {
	accounts := open(t, "admin:"+hashOf(t, "p", 4), "zs:"+hashOf(t, "p", 4))
	bindings := new(Memory)
	if err := bindings.Add(t.Context(), Binding{"U1", "zs"}, Binding{"U3", "old"}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		policy *Policy
		user   identity.User
		want   string
		class  identity.Class // of the failure, where want is ""
		code   string
	}{
		{"no policy", nil, identity.User{UnionID: "U1", Username: "zhangsan"}, "zhangsan", 0, ""},
		{"zero", &Policy{}, identity.User{UnionID: "U1", Username: "zhangsan"}, "zhangsan", 0, ""},
		{"off", &Policy{Off, bindings, accounts}, identity.User{UnionID: "U1", Username: "zhangsan"}, "zhangsan", 0, ""},
		{"optional, bound", &Policy{Optional, bindings, accounts}, identity.User{UnionID: "U1", Username: "zhangsan"},
			"zs", 0, ""},
		{"optional, not bound", &Policy{Optional, bindings, accounts}, identity.User{UnionID: "U2", Username: "lisi"},
			"lisi", 0, ""},
		{"optional, called like an account", &Policy{Optional, bindings, accounts},
			identity.User{UnionID: "U2", Username: "admin"}, "", identity.Refused, NotBound},
		{"optional, called like a bound account", &Policy{Optional, bindings, nil},
			identity.User{UnionID: "U2", Username: "old"}, "", identity.Refused, NotBound},
		{"optional, looks like an account", &Policy{Optional, bindings, accounts},
			identity.User{UnionID: "U2", Username: "Аdmin"}, "", identity.Refused, NotBound},
		{"optional, looks like a bound account", &Policy{Optional, bindings, accounts},
			identity.User{UnionID: "U2", Username: "0ld"}, "", identity.Refused, NotBound},
		{"optional, bound, whatever they are called", &Policy{Optional, bindings, accounts},
			identity.User{UnionID: "U1", Username: "Admin"}, "zs", 0, ""},
		{"required, bound", &Policy{Required, bindings, nil}, identity.User{UnionID: "U3", Username: "zhangsan"}, "old",
			0, ""},
		{"required, not bound", &Policy{Required, bindings, accounts}, identity.User{UnionID: "U2", Username: "lisi"}, "",
			identity.Refused, NotBound},
		{"required, without a unionId", &Policy{Required, bindings, accounts}, identity.User{Username: "zs"}, "",
			identity.Refused, NotBound},
		{"a failing store is no refusal", &Policy{Required, new(broken), nil},
			identity.User{UnionID: "U1", Username: "zhangsan"}, "", identity.Later, "store_unavailable"},
		{"nor for a person without a unionId", &Policy{Optional, new(broken), nil},
			identity.User{Username: "zhangsan"}, "", identity.Later, "store_unavailable"},
		{"nor a pass", &Policy{Optional, new(broken), nil}, identity.User{UnionID: "U1", Username: "zhangsan"}, "",
			identity.Later, "store_unavailable"},
	} {
		got, err := tt.policy.Resolve(t.Context(), tt.user)
		f, failed := errors.AsType[*identity.Failure](err)
		if got.Username != tt.want || (err != nil) != (tt.want == "") ||
			failed && (f.Class != tt.class || f.Code != tt.code) {
			t.Errorf("%s: Resolve(%s) = %q, %v, want %q, %v %s", tt.name, tt.user.Username, got.Username, err,
				tt.want, tt.class, tt.code)
		}
	}
}
