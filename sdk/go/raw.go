package tidemill

import "tidemill.dev/tidemill/internal/decode"

// Raw is an event's data byte for byte: for formats other than JSON, and for plugins that take events of several types.
type Raw []byte

// Decode reads the data as JSON. What does not fit target is rejected, with the place and the reason.
//
//	switch event.Kind {
//	case "OrderCreated":
//		var order Order
//		if err := event.Data.Decode(&order); err != nil {
//			return err
//		}
func (r Raw) Decode(target any) error {
	if err := decode.JSON("the event's data", r, target); err != nil {
		return Rejectf("%w", err)
	}
	return nil
}
