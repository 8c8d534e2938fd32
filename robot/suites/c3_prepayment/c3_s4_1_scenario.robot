*** Settings ***
Documentation       C3, scenario 4: the balance nears zero and the customer prepays again, by hand or by an automatic payment.
...                 Step by step, in the catalogue's ids.
Library             ../../keywords/prepayment_meter.py
Library             ../../keywords/prepayment_head_end.py
Library             ../../keywords/prepayment_meter_data.py
Library             ../../keywords/prepayment_customer_service.py
Library             ../../keywords/prepayment_display.py
Library             ../../keywords/website_browser.py
Library             ../../keywords/prepayment_balance.py    customer=website
Test Setup          The Site Is Provisioned
Test Teardown       The Site Draws What It Is Provisioned With


*** Test Cases ***
A Customer Prepays Again By Hand
    [Tags]    C3-S4    C3-MSG-06    C3-MSG-08    C3-MSG-13    C3-MSG-15
    The Display Has Joined    1 minute
    The Customer Has Chosen For Zero    disconnect
    The Customer Has Service Left For    50 hours
    CSS Determines That The Threshold Is Reached    C3-S4.01
    ADCS Sends The Balance Every Interval    C3-S4.02    3
    The Message Carries Balance Time Left And Moment Of Zero
    Meter Logs And Displays Each Refresh    C3-S4.03
    Display Device Shows The Refresh    C3-S4.04
    Website Shows The Refresh
    Keep A Picture    balance-near-zero
    Customer Prepays Again    3000
    CSS Goes On With The Payment
    Service Was Never Interrupted    C3-S4.07

An Automatic Payment Replenishes The Balance
    [Tags]    C3-S4.01    C3-S4.06    C3-S4.07    C3-MSG-06    C3-MSG-08
    The Customer Has Agreed On Automatic Payments    3000
    The Customer Has Chosen For Zero    auto_replenish    disconnect
    The Customer Has Service Left For    50 hours
    CSS Determines That The Threshold Is Reached    C3-S4.01
    The Payment Option Replenishes
    CSS Goes On With The Payment
    Service Was Never Interrupted    C3-S4.07
