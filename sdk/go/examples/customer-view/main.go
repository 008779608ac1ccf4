// Orders as documents, and what each customer has spent.
package main

import (
	"tidemill.dev/tidemill"
	"tidemill.dev/tidemill/projection"
	"tidemill.dev/tidemill/queries"
	"tidemill.dev/tidemill/readmodel"
)

type Created struct {
	ID       string  `json:"id"`
	Customer string  `json:"customer"`
	Total    float64 `json:"total"`
}

type Order struct {
	Customer string  `json:"customer"`
	Total    float64 `json:"total"`
}

type Customer struct {
	Orders int     `json:"orders"`
	Spent  float64 `json:"spent"`
}

func main() {
	projection.Apply(fold)
	queries.Answer(answer)
}

func fold(ctx *tidemill.Context, event tidemill.Event[Created]) error {
	created := event.Data
	if err := readmodel.Put("orders", created.ID, Order{created.Customer, created.Total}); err != nil {
		return err
	}
	_, err := readmodel.Update("customers", created.Customer, func(customer Customer) Customer {
		return Customer{customer.Orders + 1, customer.Spent + created.Total}
	})
	return err
}

func answer(question *queries.Question) (any, error) {
	switch question.Name {
	case "largest-order":
		var of struct {
			Customer string `json:"customer"`
		}
		if err := question.Decode(&of); err != nil {
			return nil, err
		}
		largest := 0.0
		for order, err := range readmodel.Find[Order]("orders", "customer", of.Customer) {
			if err != nil {
				return nil, err
			}
			largest = max(largest, order.Body.Total)
		}
		return largest, nil
	default:
		return nil, question.Unknown()
	}
}
