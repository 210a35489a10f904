package realstack

// Lock is for the tests of what several builders do at once.
var Lock = lock

// RequiredVersion is for the test of every tool's pin.
var RequiredVersion = requiredVersion

// Pins maps every tool to the folder below test/tools and the module whose
// version names it.
func Pins() map[string][2]string {
	pins := make(map[string][2]string)
	for name, t := range tools {
		pins[name] = [2]string{t.folder, t.module}
	}
	return pins
}
