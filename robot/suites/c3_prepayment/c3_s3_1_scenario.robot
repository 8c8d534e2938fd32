*** Settings ***
Documentation       C3, scenario 3: a customer prepays for an event at a facility they do not own (programme B). Step by step, in
...                 the catalogue's ids; then its three outcomes when the event's credit is used up.
Library             ../../keywords/prepayment_events.py    C3-S3
Library             ../../keywords/prepayment_event_rules.py
Library             ../../keywords/prepayment_meter.py
Library             ../../keywords/prepayment_head_end.py
Library             ../../keywords/prepayment_meter_data.py
Library             ../../keywords/prepayment_customer_service.py
Library             ../../keywords/website_browser.py
Test Setup          A Site Without Events
Test Teardown       No Events Are Left


*** Test Cases ***
A Customer Prepays For An Event At Somebody Elses Facility
    [Tags]    C3-S3    C3-MSG-01    C3-MSG-02    C3-MSG-03    C3-MSG-04    C3-MSG-05    C3-MSG-06    C3-MSG-07
    Representative Signs In At The Website
    Customer Asks To Prepay For An Event    10 days    4 hours    charge_payer
    Representative Confirms Who Pays
    Representative Confirms That The Facility Takes Prepayment
    Representative Finds The Time Free
    Representative Estimates The Event
    Customer Gives Amount And Method    1200    card
    Representative Verifies The Funds And Posts The Amount
    CSS Sends The Schedule To The ADCS

Somebody Elses Facility Is Disconnected When The Credit Is Used Up
    [Tags]    C3-NR-04
    Somebody Elses Event Runs Until Its Credit Is Used Up    disconnect    1000    90 hours
    The Service Is Disconnected At Zero

Somebody Elses Facility Is Limited When The Credit Is Used Up
    [Tags]    C3-NR-04
    Somebody Elses Event Runs Until Its Credit Is Used Up    limit    1000    90 hours
    The Service Is Limited At Zero

Somebody Elses Facility Stays On At The Payers Expense
    [Tags]    C3-NR-04
    Somebody Elses Event Runs Until Its Credit Is Used Up    charge_payer    1000    90 hours
    The Payer Goes On Paying Until They End The Event


*** Keywords ***
A Site Without Events
    The Site Is Provisioned
    No Events Are Left
